//! Who may call what: one table of every endpoint and its roles.
//!
//! Invariant: a route that is not in [`ENDPOINTS`] is not served. A token of one advertiser sees its campaigns only;
//! what would tell it of others is refused or answered as if it did not exist.

use std::sync::Arc;

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Sends events.
    Collector,
    /// Reads reports.
    Reporter,
    /// Sends verdicts and reads reports.
    Fraud,
    /// Reads reports and statements, and closes them.
    Finance,
    /// Everything.
    Admin,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 5] = [Self::Collector, Self::Reporter, Self::Fraud, Self::Finance, Self::Admin];

    /// Its name in API and configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Collector => "collector",
            Self::Reporter => "reporter",
            Self::Fraud => "fraud",
            Self::Finance => "finance",
            Self::Admin => "admin",
        }
    }

    /// The role of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|r| r.name() == name)
    }
}

/// Whose request it is: what its token says. In the extensions of every request that is not public.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The token's id (`tk_...`), never the token.
    pub token_id: Arc<str>,
    /// What it is for.
    pub role: Role,
    /// The source that its events come from, and the issuer of its verdicts.
    pub source: Arc<str>,
    /// The advertiser whose campaigns alone it sees; `None`: all.
    pub advertiser: Option<Arc<str>>,
}

/// Who may call an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anybody: no token is asked for.
    Public,
    /// Tokens of these roles. Tokens of one advertiser too, for the answer shows them their own campaigns only.
    Roles(&'static [Role]),
    /// Tokens of these roles that see all advertisers; one of a single advertiser gets 403 `advertiser_scope`.
    Unscoped(&'static [Role]),
}

/// One endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// GET, POST, PUT or DELETE.
    pub method: &'static str,
    /// The path as the router knows it.
    pub path: &'static str,
    /// Who may call it.
    pub access: Access,
}

/// Why a principal may not call an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// It needs a token, and there is none.
    NoToken,
    /// The token's role may not.
    Role,
    /// The token sees one advertiser only, and the answer is about all.
    Scope,
}

impl Endpoint {
    /// The entry of a route.
    pub fn find(method: &str, path: &str) -> Option<&'static Self> {
        ENDPOINTS.iter().find(|e| e.method == method && e.path == path)
    }

    /// Whether a principal may call it.
    pub fn decide(&self, principal: Option<&Principal>) -> Result<(), Denied> {
        let (roles, unscoped) = match self.access {
            Access::Public => return Ok(()),
            Access::Roles(roles) => (roles, false),
            Access::Unscoped(roles) => (roles, true),
        };
        let principal = principal.ok_or(Denied::NoToken)?;
        if !roles.contains(&principal.role) {
            Err(Denied::Role)
        } else if unscoped && principal.advertiser.is_some() {
            Err(Denied::Scope)
        } else {
            Ok(())
        }
    }
}

const fn endpoint(method: &'static str, path: &'static str, access: Access) -> Endpoint {
    Endpoint { method, path, access }
}

const SENDERS: &[Role] = &[Role::Collector, Role::Admin];
const READERS: &[Role] = &[Role::Reporter, Role::Fraud, Role::Finance, Role::Admin];
const ADMINS: &[Role] = &[Role::Admin];

/// Every endpoint.
pub const ENDPOINTS: &[Endpoint] = &[
    endpoint("GET", "/healthz", Access::Public),
    endpoint("GET", "/readyz", Access::Public),
    // Collect: events may name any campaign, and the answer tells of it, so a token of one advertiser does not send. Site
    // keys name the source of pixel and click.
    endpoint("POST", "/v1/events/collect", Access::Unscoped(SENDERS)),
    endpoint("GET", "/v1/pixel.gif", Access::Public),
    endpoint("GET", "/v1/click", Access::Public),
    endpoint("POST", "/v1/imports", Access::Unscoped(ADMINS)),
    endpoint("POST", "/v1/imports/{source}/chunks", Access::Unscoped(ADMINS)),
    endpoint("POST", "/v1/imports/{source}/end", Access::Unscoped(ADMINS)),
    // Reports.
    endpoint("GET", "/v1/reports", Access::Roles(READERS)),
    endpoint("GET", "/v1/reports/campaigns/{campaignId}", Access::Roles(READERS)),
    endpoint("GET", "/v1/ads/{adId}/aggregated_count", Access::Roles(READERS)),
    endpoint("GET", "/v1/ads/{adId}/distinct_users", Access::Roles(READERS)),
    endpoint("GET", "/v1/ads/popular_ads", Access::Roles(READERS)),
    endpoint("GET", "/v1/catalog", Access::Roles(READERS)),
    endpoint("GET", "/v1/conservation", Access::Unscoped(READERS)),
    endpoint("GET", "/v1/pipeline", Access::Unscoped(READERS)),
    endpoint("GET", "/v1/events/stream", Access::Unscoped(READERS)),
    endpoint("GET", "/v1/quarantine", Access::Unscoped(READERS)),
    endpoint("GET", "/v1/quarantine/{id}", Access::Unscoped(READERS)),
    endpoint("POST", "/v1/quarantine/replay", Access::Unscoped(ADMINS)),
    // Metadata. Lists and single things; an advertiser's token sees its own.
    endpoint("GET", "/v1/advertisers", Access::Roles(READERS)),
    endpoint("GET", "/v1/advertisers/{id}", Access::Roles(READERS)),
    endpoint("PUT", "/v1/advertisers/{id}", Access::Unscoped(ADMINS)),
    endpoint("GET", "/v1/campaigns", Access::Roles(READERS)),
    endpoint("GET", "/v1/campaigns/{id}", Access::Roles(READERS)),
    endpoint("GET", "/v1/campaigns/{id}/history", Access::Roles(READERS)),
    endpoint("PUT", "/v1/campaigns/{id}", Access::Unscoped(ADMINS)),
    endpoint("GET", "/v1/ads", Access::Roles(READERS)),
    endpoint("GET", "/v1/ads/{id}", Access::Roles(READERS)),
    endpoint("PUT", "/v1/ads/{id}", Access::Unscoped(ADMINS)),
    endpoint("GET", "/v1/publishers", Access::Unscoped(READERS)),
    endpoint("GET", "/v1/publishers/{id}", Access::Unscoped(READERS)),
    endpoint("PUT", "/v1/publishers/{id}", Access::Unscoped(ADMINS)),
    endpoint("GET", "/v1/placements", Access::Unscoped(READERS)),
    endpoint("GET", "/v1/placements/{id}", Access::Unscoped(READERS)),
    endpoint("PUT", "/v1/placements/{id}", Access::Unscoped(ADMINS)),
    endpoint("POST", "/v1/metadata/bulk", Access::Unscoped(ADMINS)),
    endpoint("GET", "/v1/tokens", Access::Unscoped(ADMINS)),
    endpoint("POST", "/v1/tokens", Access::Unscoped(ADMINS)),
    endpoint("DELETE", "/v1/tokens/{id}", Access::Unscoped(ADMINS)),
    endpoint("GET", "/v1/site-keys", Access::Unscoped(ADMINS)),
    endpoint("POST", "/v1/site-keys", Access::Unscoped(ADMINS)),
    endpoint("DELETE", "/v1/site-keys/{id}", Access::Unscoped(ADMINS)),
    endpoint("GET", "/v1/click-destinations", Access::Unscoped(ADMINS)),
    endpoint("POST", "/v1/click-destinations", Access::Unscoped(ADMINS)),
    endpoint("DELETE", "/v1/click-destinations/{id}", Access::Unscoped(ADMINS)),
    // Operation.
    endpoint("GET", "/metrics", Access::Unscoped(READERS)),
    endpoint("POST", "/v1/clock/confirm", Access::Unscoped(ADMINS)),
    endpoint("GET", "/v1/audit", Access::Unscoped(ADMINS)),
    endpoint("POST", "/v1/backups", Access::Unscoped(ADMINS)),
];
