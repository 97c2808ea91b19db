//! Authentication: whose request it is, and whether it may be made.
//!
//! A token is looked up by its SHA-256, so that the time a look-up takes tells nothing about the token itself.
//! Invariant: nothing that refuses says more than that the token is missing, unknown or expired; no part of it goes
//! into an answer or a log.

use axum::extract::{MatchedPath, Request};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use sha2::{Digest, Sha256};

use super::Problem;
use super::access::{Access, Denied, Endpoint};
use super::server::Peer;
use crate::clock;
use crate::directory::{Directory, Token};
use crate::service::Service;

/// The challenge of a 401.
pub const CHALLENGE: HeaderValue = HeaderValue::from_static("Bearer realm=\"adsum\"");

/// The hash that a token is known by.
pub fn token_hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Self {
        let forbidden = |code, detail: &str| Self::new(StatusCode::FORBIDDEN, code, detail);
        match denied {
            Denied::NoToken => unauthorized("token_missing", "this needs a token: Authorization: Bearer TOKEN"),
            Denied::Role => forbidden("role_forbidden", "tokens of this role may not do this"),
            Denied::Scope => {
                forbidden("advertiser_scope", "this is about all advertisers, and the token sees one of them only")
            }
        }
    }
}

fn unauthorized(code: &'static str, detail: &str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, code, detail)
}

/// Lets a request through, with its [`super::Principal`] and its [`super::EventQuota`] in the extensions, or refuses it.
pub fn admit(service: &Service, request: &mut Request) -> Result<(), Problem> {
    let matched = request.extensions().get::<MatchedPath>();
    // What is not routed is answered 404, whoever asks.
    let Some(path) = matched else { return Ok(()) };
    // GET is routed for HEAD too; other methods than the path's are answered 405.
    let method = if request.method() == http::Method::HEAD { "GET" } else { request.method().as_str() };
    let Some(endpoint) = Endpoint::find(method, path.as_str()) else { return Ok(()) };
    if endpoint.access == Access::Public {
        return Ok(());
    }
    let directory = service.directory.load();
    let token = match identify(&directory, request.headers(), clock::now().micros()) {
        Ok(token) => token,
        Err(problem) => {
            if let Some(peer) = request.extensions().get::<Peer>() {
                service.guard.rates.failed(peer.address())?;
            }
            return Err(problem);
        }
    };
    let principal = &token.principal;
    service.guard.rates.request(&principal.token_id, token.requests_per_second)?;
    endpoint.decide(Some(principal))?;
    let quota = service.guard.rates.events(&principal.token_id, token.events_per_second);
    let principal = principal.clone();
    request.extensions_mut().insert(principal);
    request.extensions_mut().insert(quota);
    Ok(())
}

/// The token of a request at `now_micros`.
fn identify<'d>(directory: &'d Directory, headers: &HeaderMap, now_micros: i64) -> Result<&'d Token, Problem> {
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    let unknown = || unauthorized("token_unknown", "the token is unknown or revoked");
    let (value, more) = (given.next().ok_or(Denied::NoToken)?, given.next());
    let text = value.to_str().map_err(|_| unknown())?;
    let (scheme, secret) = text.split_once(' ').unwrap_or((text, ""));
    if !scheme.eq_ignore_ascii_case("bearer") || secret.is_empty() {
        return Err(Denied::NoToken.into());
    }
    if more.is_some() {
        return Err(Problem::bad_request("token_ambiguous", "more than one Authorization").about("Authorization"));
    }
    let token = directory.tokens.get(&token_hash(secret)).ok_or_else(unknown)?;
    match token.expires_at_micros {
        Some(end) if end <= now_micros => Err(unauthorized("token_expired", "the token has expired")),
        _ => Ok(token),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use adsum_model::campaigns::{Campaigns, UnknownCampaign};

    use super::*;
    use crate::http::access::ENDPOINTS;
    use crate::http::{Principal, Role};

    fn principal(role: Role, advertiser: Option<&str>) -> Principal {
        let advertiser = advertiser.map(Arc::from);
        Principal { token_id: "tk_1".into(), role, source: "s".into(), advertiser }
    }

    #[test]
    fn every_endpoint_decides_by_role_and_scope() {
        for endpoint in ENDPOINTS {
            let decide = |p: Option<&Principal>| endpoint.decide(p).map_err(|d| Problem::from(d).code);
            let (roles, unscoped) = match endpoint.access {
                Access::Public => (&Role::ALL[..], false),
                Access::Roles(roles) => (roles, false),
                Access::Unscoped(roles) => (roles, true),
            };
            let public = endpoint.access == Access::Public;
            assert_eq!(decide(None).is_ok(), public, "{endpoint:?}");
            for role in Role::ALL {
                for advertiser in [None, Some("adv_1")] {
                    let expected = match (roles.contains(&role), unscoped && advertiser.is_some()) {
                        (false, _) => Err("role_forbidden"),
                        (true, true) => Err("advertiser_scope"),
                        (true, false) => Ok(()),
                    };
                    let decided = decide(Some(&principal(role, advertiser)));
                    assert_eq!(decided, expected, "{endpoint:?} {role:?} {advertiser:?}");
                }
            }
        }
    }

    #[test]
    fn the_table_says_what_was_meant() {
        // method and path; who may: Collector, Reporter, Fraud, Finance, Admin, and whether one advertiser's token may
        let cases = [
            ("POST", "/v1/events/collect", "C...A", false),
            ("GET", "/v1/reports", ".RFNA", true),
            ("GET", "/v1/conservation", ".RFNA", false),
            ("PUT", "/v1/campaigns/{id}", "....A", false),
            ("POST", "/v1/tokens", "....A", false),
            ("GET", "/v1/click", "CRFNA", true),
        ];
        for (method, path, letters, scoped) in cases {
            let endpoint = Endpoint::find(method, path).unwrap();
            let may = |advertiser| -> String {
                let may = |role| endpoint.decide(Some(&principal(role, advertiser))).is_ok();
                Role::ALL.iter().zip("CRFNA".chars()).map(|(r, c)| if may(*r) { c } else { '.' }).collect()
            };
            assert_eq!(
                (may(None).as_str(), may(Some("a")).as_str()),
                (letters, if scoped { letters } else { "....." })
            );
        }
    }

    #[test]
    fn a_token_is_known_by_its_hash_until_it_expires() {
        let catalog = adsum_model::catalog::Catalog::build(&Default::default()).unwrap();
        let campaigns = Campaigns::build(&[], "USD", UnknownCampaign::LetThrough, catalog.symbols()).unwrap();
        let mut directory = Directory::of_campaigns(Arc::new(campaigns));
        for (secret, expires_at_micros) in [("adsum_1", None), ("adsum_2", Some(1_000))] {
            let token = Token {
                principal: principal(Role::Admin, None),
                expires_at_micros,
                requests_per_second: None,
                events_per_second: None,
            };
            directory.tokens.insert(token_hash(secret), token);
        }
        let cases: [(&[&str], i64, Option<&str>); 13] = [
            (&[], 0, Some("token_missing")),
            (&[""], 0, Some("token_missing")),
            (&["Bearer"], 0, Some("token_missing")),
            (&["Bearer "], 0, Some("token_missing")),
            (&["Basic adsum_1"], 0, Some("token_missing")),
            (&["adsum_1"], 0, Some("token_missing")),
            (&["Bearer adsum_3"], 0, Some("token_unknown")),
            (&["Bearer  adsum_1"], 0, Some("token_unknown")),
            (&["Bearer adsum_1", "Bearer adsum_1"], 0, Some("token_ambiguous")),
            (&["Bearer adsum_1"], i64::MAX, None),
            (&["bearer adsum_1"], 0, None),
            (&["Bearer adsum_2"], 999, None),
            (&["Bearer adsum_2"], 1_000, Some("token_expired")),
        ];
        for (given, now, refused) in cases {
            let mut headers = HeaderMap::new();
            for value in given {
                headers.append(header::AUTHORIZATION, value.parse().unwrap());
            }
            let answer = identify(&directory, &headers, now).err();
            assert_eq!(answer.as_ref().map(|p| p.code), refused, "{given:?} {now}");
            let status = answer.map(|p| p.status.as_u16());
            assert!(matches!((refused, status), (None, None) | (Some("token_ambiguous"), Some(400)) | (_, Some(401))));
        }
    }
}
