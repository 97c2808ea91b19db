//! What may be asked for: from a request's members to changes that are checked against the state.
//!
//! Invariant: a change that comes out of here can be applied: what it refers to exists, what it replaces may be
//! replaced, and limits hold. What would change nothing comes out as none. Not here: whether a campaign has events
//! ([`super::counted`]).

use adsum_model::campaigns::CampaignStatus;
use adsum_model::catalog::BillableType;
use adsum_model::time::{EventTime, ReceivedAt};
use http::StatusCode;

use super::change::{Ad, Advertiser, Campaign, Change, Destination, Gone, Placement, Publisher, SiteKey, Token};
use super::members::{Members, check_id};
use super::nouns::Noun;
use super::state::State;
use super::table::Declared;
use crate::http::{Problem, Role};

/// How many there may be of each of the nouns.
const NOUNS_MAX: usize = 2_000_000;
/// How many tokens, how many site keys and how many click destinations there may be, revoked ones included.
const KEYS_MAX: usize = 10_000;
/// How many versions a campaign may have.
const VERSIONS_MAX: usize = 1_000;
/// The greatest quota, a second.
const QUOTA_MAX: u32 = 100_000_000;
/// How long a click destination may be, in bytes.
const URL_BYTES_MAX: usize = 2048;

/// What a request is checked against.
#[derive(Clone, Copy)]
pub struct Known<'a> {
    /// The state that the change would follow on.
    pub state: &'a State,
    /// What the configuration declares.
    pub declared: &'a Declared,
    /// The moment that the change is taken in.
    pub now: ReceivedAt,
}

/// An upsert of one of the nouns; none if it stands like that already.
pub fn put(known: Known<'_>, noun: Noun, id: &str, mut body: Members) -> Result<Option<Change>, Problem> {
    check_id(id)?;
    body.same_id(id)?;
    let id = id.to_owned();
    match noun {
        Noun::Advertiser => {
            let it = Advertiser { id, name: body.name()?, time_zone: time_zone(&mut body)? };
            body.end()?;
            let old = known.state.advertisers.get(&it.id);
            bounded(old.is_none(), known.state.advertisers.len(), NOUNS_MAX)?;
            Ok((old.map(|o| &o.it) != Some(&it)).then_some(Change::Advertiser(it)))
        }
        Noun::Campaign => campaign(known, id, body),
        Noun::Ad => ad(known, id, body),
        Noun::Publisher => {
            let it = Publisher { id, name: body.name()? };
            body.end()?;
            let old = known.state.publishers.get(&it.id);
            bounded(old.is_none(), known.state.publishers.len(), NOUNS_MAX)?;
            Ok((old.map(|o| &o.it) != Some(&it)).then_some(Change::Publisher(it)))
        }
        Noun::Placement => {
            let it = Placement { id, name: body.name()?, publisher_id: body.id("publisherId")? };
            body.end()?;
            if !known.state.publishers.contains_key(&it.publisher_id) {
                return Err(Problem::bad_request("unknown_publisher", "no such publisher").about("publisherId"));
            }
            let old = known.state.placements.get(&it.id);
            bounded(old.is_none(), known.state.placements.len(), NOUNS_MAX)?;
            Ok((old.map(|o| &o.it) != Some(&it)).then_some(Change::Placement(it)))
        }
    }
}

fn campaign(known: Known<'_>, id: String, mut body: Members) -> Result<Option<Change>, Problem> {
    if known.declared.campaigns.contains_key(&id) {
        return Err(declared("campaign"));
    }
    let name = body.name()?;
    let advertiser = body.id("advertiser")?;
    let currency = body.id("currency")?;
    if currency.len() != 3 || !currency.bytes().all(|b| b.is_ascii_uppercase()) {
        let detail = "an ISO 4217 code has three upper-case letters";
        return Err(Problem::bad_request("invalid_currency", detail).about("currency"));
    }
    let billable = body.word("billable", "cpm, cpc, cpa", BillableType::from_name)?.unwrap_or(BillableType::Cpm);
    let status = body.word("status", "active, paused", CampaignStatus::from_name)?.unwrap_or_default();
    let (start, end) = (body.moment("start")?, body.moment("end")?);
    let from = body.moment("effectiveFrom")?;
    body.end()?;
    if start.zip(end).is_some_and(|(start, end)| start >= end) {
        return Err(Problem::bad_request("end_before_start", "a campaign ends after its start").about("end"));
    }
    advertiser_exists(known, &advertiser)?;
    let effective_from = from.unwrap_or_else(|| EventTime::from_micros(known.now.micros()));
    let it = Campaign { id, name, advertiser, currency, billable, status, start, end, effective_from };
    let Some(versions) = known.state.campaigns.get(&it.id) else {
        bounded(true, known.state.campaigns.len(), NOUNS_MAX)?;
        return Ok(Some(Change::Campaign(it)));
    };
    bounded(true, versions.declared().len(), VERSIONS_MAX)?;
    let standing = versions.standing(effective_from);
    let at_that_moment = from.is_none() || standing.it.effective_from == effective_from;
    Ok((!at_that_moment || !standing.it.says_the_same(&it)).then_some(Change::Campaign(it)))
}

fn ad(known: Known<'_>, id: String, mut body: Members) -> Result<Option<Change>, Problem> {
    if known.declared.ads.contains_key(&id) {
        return Err(declared("ad"));
    }
    let it = Ad { id, name: body.name()?, campaign_id: body.id("campaignId")? };
    body.end()?;
    let exists = known.state.campaigns.contains_key(&it.campaign_id);
    if !exists && !known.declared.campaigns.contains_key(&it.campaign_id) {
        return Err(Problem::bad_request("unknown_campaign", "no such campaign").about("campaignId"));
    }
    let old = known.state.ads.get(&it.id);
    bounded(old.is_none(), known.state.ads.len(), NOUNS_MAX)?;
    Ok((old.map(|o| &o.it) != Some(&it)).then_some(Change::Ad(it)))
}

/// A new token with this id and the SHA-256 of its secret.
pub fn token(known: Known<'_>, id: String, sha256: [u8; 32], mut body: Members) -> Result<Change, Problem> {
    let roles = Role::ALL.map(Role::name).join(", ");
    let it = Token {
        id,
        sha256,
        name: body.name()?,
        role: body.word("role", &roles, Role::from_name)?.ok_or_else(|| missing("role"))?,
        source: body.id("source")?,
        advertiser: body.id_if("advertiser")?,
        expires_at: body.moment("expiresAt")?,
        requests_per_second: body.number("requestsPerSecond", QUOTA_MAX)?,
        events_per_second: body.number("eventsPerSecond", QUOTA_MAX)?,
    };
    body.end()?;
    if let Some(advertiser) = &it.advertiser {
        advertiser_exists(known, advertiser)?;
    }
    if it.is_expired(known.now) {
        return Err(Problem::bad_request("out_of_range", "a token expires in the future").about("expiresAt"));
    }
    bounded(true, known.state.tokens.len(), KEYS_MAX)?;
    Ok(Change::TokenCreate(it))
}

/// The end of a token; none if it was revoked before. One admin token stays.
pub fn token_revoke(known: Known<'_>, id: &str) -> Result<Option<Change>, Problem> {
    let found = known.state.tokens.get(id).ok_or_else(not_found)?;
    let mut admins = known.state.admins(known.now);
    if admins.next().is_some_and(|t| t.id == id) && admins.next().is_none() {
        let detail = "this is the last admin token that is valid; make another one first";
        return Err(Problem::new(StatusCode::CONFLICT, "last_admin_token", detail));
    }
    Ok(found.revoked_at.is_none().then(|| Change::TokenRevoke(Gone { id: id.to_owned() })))
}

/// A new site key with this id.
pub fn site_key(known: Known<'_>, id: String, mut body: Members) -> Result<Change, Problem> {
    let it = SiteKey {
        id,
        name: body.name()?,
        source: body.id("source")?,
        events_per_second: body.number("eventsPerSecond", QUOTA_MAX)?,
    };
    body.end()?;
    bounded(true, known.state.site_keys.len(), KEYS_MAX)?;
    Ok(Change::SiteKeyCreate(it))
}

/// The end of a site key; none if it was revoked before.
pub fn site_key_revoke(known: Known<'_>, id: &str) -> Result<Option<Change>, Problem> {
    let found = known.state.site_keys.get(id).ok_or_else(not_found)?;
    Ok(found.revoked_at.is_none().then(|| Change::SiteKeyRevoke(Gone { id: id.to_owned() })))
}

/// A new click destination with this id.
pub fn destination(known: Known<'_>, id: String, mut body: Members) -> Result<Change, Problem> {
    let url = body.required("url", URL_BYTES_MAX)?;
    body.end()?;
    let url = prefix(&url).map_err(|why| Problem::bad_request("invalid_url", why).about("url"))?;
    if known.state.destinations.values().any(|d| d.it.url == url) {
        let detail = "this destination is registered already";
        return Err(Problem::new(StatusCode::CONFLICT, "already_there", detail).about("url"));
    }
    bounded(true, known.state.destinations.len(), KEYS_MAX)?;
    Ok(Change::DestinationCreate(Destination { id, url }))
}

/// The end of a click destination.
pub fn destination_delete(known: Known<'_>, id: &str) -> Result<Change, Problem> {
    known.state.destinations.get(id).ok_or_else(not_found)?;
    Ok(Change::DestinationDelete(Gone { id: id.to_owned() }))
}

/// A URL that others may begin with, in its one form: scheme and host in lower case, a path, nothing behind it.
fn prefix(url: &str) -> Result<String, &'static str> {
    let uri: http::Uri = url.parse().map_err(|_| "no absolute URL; one looks like https://shop.example/path")?;
    let scheme = uri.scheme_str().unwrap_or_default().to_ascii_lowercase();
    if scheme != "http" && scheme != "https" {
        return Err("the scheme must be https or http");
    }
    let authority = uri.authority().map(|a| a.as_str().to_ascii_lowercase()).unwrap_or_default();
    if authority.is_empty() || authority.starts_with(':') || authority.contains('@') {
        return Err("a host is needed, without a user");
    }
    if uri.query().is_some() || url.contains('#') {
        return Err("a prefix of URLs has no query and no fragment");
    }
    let escaped = uri.path().to_ascii_lowercase().replace("%2e", ".");
    if escaped.split('/').any(|segment| segment == "." || segment == "..") || escaped.contains('\\') {
        return Err("the path must not go up");
    }
    Ok(format!("{scheme}://{authority}{}", uri.path()))
}

fn time_zone(body: &mut Members) -> Result<String, Problem> {
    let name = body.id("timeZone")?;
    match jiff::tz::TimeZone::get(&name) {
        // Zones are found whatever the case; kept in the one form that has a name.
        Ok(zone) if zone.iana_name().is_some() => Ok(zone.iana_name().unwrap_or(&name).to_owned()),
        _ => Err(Problem::bad_request("unknown_time_zone", "no IANA time zone; one looks like Europe/London")
            .about("timeZone")),
    }
}

fn advertiser_exists(known: Known<'_>, id: &str) -> Result<(), Problem> {
    match known.state.advertisers.contains_key(id) {
        true => Ok(()),
        false => Err(Problem::bad_request("unknown_advertiser", "no such advertiser").about("advertiser")),
    }
}

fn bounded(grows: bool, count: usize, max: usize) -> Result<(), Problem> {
    if grows && count >= max {
        return Err(Problem::new(StatusCode::CONFLICT, "too_many", format!("there are {max} already, the most")));
    }
    Ok(())
}

fn declared(what: &str) -> Problem {
    let detail = format!("this {what} is declared in the configuration and can only be changed there");
    Problem::new(StatusCode::CONFLICT, "declared_in_configuration", detail).about("id")
}

fn missing(name: &str) -> Problem {
    Problem::bad_request("missing_field", "this member is required").about(name)
}

/// The answer about what is not there, or not for this token: the same for both.
pub fn not_found() -> Problem {
    Problem::not_found("there is no such thing, or none that this token may see")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_of_destinations() {
        for (url, kept) in [
            ("https://shop.example/path", Some("https://shop.example/path")),
            ("HTTPS://Shop.Example", Some("https://shop.example/")),
            ("http://shop.example:8080/a/b/", Some("http://shop.example:8080/a/b/")),
            ("ftp://shop.example/", None),
            ("javascript:alert(1)", None),
            ("//shop.example/", None),
            ("/path", None),
            ("https:///path", None),
            ("https://user@shop.example/", None),
            ("https://shop.example/a?b=1", None),
            ("https://shop.example/a#b", None),
            ("https://shop.example/a/../b", None),
            ("https://shop.example/a/%2E%2e/b", None),
            ("https://shop.example/ a", None),
        ] {
            assert_eq!(prefix(url).ok().as_deref(), kept, "{url}");
        }
    }
}
