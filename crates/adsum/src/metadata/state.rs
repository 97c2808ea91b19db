//! The state of the metadata in memory: what all changes so far come to.
//!
//! Invariant: it is a function of the changes in log order, and [`State::apply`] never fails: what a change may be was
//! checked before its record was appended. Not here: that check ([`super::read`]), and how events are resolved by it
//! ([`super::table`]).

use std::collections::BTreeMap;
use std::ops::Bound;

use adsum_model::time::{EventTime, ReceivedAt};
use serde::Serialize;
use serde_json::{Value, json};

use super::change::{Ad, Advertiser, Campaign, Change, Destination, Numbered, Placement, Publisher, SiteKey, Token};

/// What was put, by whom, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<T> {
    /// What was put.
    pub it: T,
    /// The change that put it.
    pub revision: u64,
    /// When.
    pub at: ReceivedAt,
    /// By which token.
    pub by: String,
}

/// What can be revoked and is remembered then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocable<T> {
    /// As it was made.
    pub made: Entry<T>,
    /// When it was revoked.
    pub revoked_at: Option<ReceivedAt>,
}

/// The versions of a campaign as they were declared; never none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versions(Vec<Entry<Campaign>>);

/// Everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// How many changes it comes of.
    pub revision: u64,
    pub advertisers: BTreeMap<String, Entry<Advertiser>>,
    pub campaigns: BTreeMap<String, Versions>,
    pub ads: BTreeMap<String, Entry<Ad>>,
    pub publishers: BTreeMap<String, Entry<Publisher>>,
    pub placements: BTreeMap<String, Entry<Placement>>,
    pub tokens: BTreeMap<String, Revocable<Token>>,
    pub site_keys: BTreeMap<String, Revocable<SiteKey>>,
    pub destinations: BTreeMap<String, Entry<Destination>>,
}

impl State {
    /// Takes one change in.
    pub fn apply(&mut self, change: &Numbered) {
        self.revision = change.revision;
        let Numbered { revision, at, .. } = *change;
        let by = &change.recorded.by;
        match change.recorded.change.clone() {
            Change::Advertiser(it) => put(&mut self.advertisers, it.id.clone(), entry(it, revision, at, by)),
            Change::Campaign(it) => self.version(entry(it, revision, at, by)),
            Change::Ad(it) => put(&mut self.ads, it.id.clone(), entry(it, revision, at, by)),
            Change::Publisher(it) => put(&mut self.publishers, it.id.clone(), entry(it, revision, at, by)),
            Change::Placement(it) => put(&mut self.placements, it.id.clone(), entry(it, revision, at, by)),
            Change::TokenCreate(it) => put(&mut self.tokens, it.id.clone(), made(entry(it, revision, at, by))),
            Change::TokenRevoke(gone) => revoke(&mut self.tokens, &gone.id, at),
            Change::SiteKeyCreate(it) => put(&mut self.site_keys, it.id.clone(), made(entry(it, revision, at, by))),
            Change::SiteKeyRevoke(gone) => revoke(&mut self.site_keys, &gone.id, at),
            Change::DestinationCreate(it) => put(&mut self.destinations, it.id.clone(), entry(it, revision, at, by)),
            Change::DestinationDelete(gone) => {
                self.destinations.remove(&gone.id);
            }
            Change::Act(_) => {}
        }
    }

    /// Takes one more version of a campaign in.
    pub fn version(&mut self, version: Entry<Campaign>) {
        match self.campaigns.get_mut(&version.it.id) {
            Some(Versions(all)) => all.push(version),
            None => put(&mut self.campaigns, version.it.id.clone(), Versions(vec![version])),
        }
    }

    /// The advertiser of a campaign.
    pub fn advertiser_of(&self, campaign: &str) -> Option<&str> {
        Some(&self.campaigns.get(campaign)?.last().it.advertiser)
    }

    /// The tokens with everything: not revoked, not expired, and of all advertisers.
    pub fn admins(&self, now: ReceivedAt) -> impl Iterator<Item = &Token> {
        let standing = self.tokens.values().filter(|t| t.revoked_at.is_none()).map(|t| &t.made.it);
        standing.filter(move |t| t.is_admin() && !t.is_expired(now))
    }
}

impl Token {
    /// Whether it may do everything, as long as it lasts.
    pub fn is_admin(&self) -> bool {
        self.role == crate::http::Role::Admin && self.advertiser.is_none()
    }

    /// Whether its time is over.
    pub fn is_expired(&self, now: ReceivedAt) -> bool {
        self.expires_at.is_some_and(|at| at.micros() <= now.micros())
    }
}

impl Versions {
    /// As they were declared.
    pub fn declared(&self) -> &[Entry<Campaign>] {
        &self.0
    }

    /// By the moment from which each holds; of equal ones the one declared last stands, and comes last.
    pub fn by_time(&self) -> Vec<&Entry<Campaign>> {
        let mut sorted: Vec<_> = self.0.iter().collect();
        sorted.sort_by_key(|v| v.it.effective_from);
        sorted
    }

    /// The one declared last: name, advertiser and currency are its.
    pub fn last(&self) -> &Entry<Campaign> {
        &self.0[self.0.len() - 1]
    }

    /// The one whose terms hold at a moment; before the first one, the first.
    pub fn in_force(&self, at: EventTime) -> &Entry<Campaign> {
        let sorted = self.by_time();
        // Before the first moment what holds from it on; of equal moments the one declared last.
        let at = at.max(sorted[0].it.effective_from);
        let behind = sorted.partition_point(|v| v.it.effective_from <= at);
        sorted[behind - 1]
    }

    /// The campaign as it stands at a moment: the terms in force, and what holds for all versions.
    pub fn standing(&self, at: EventTime) -> Entry<Campaign> {
        let (terms, last) = (self.in_force(at), self.last());
        let mut standing = terms.clone();
        standing.it.name.clone_from(&last.it.name);
        standing.it.advertiser.clone_from(&last.it.advertiser);
        standing.it.currency.clone_from(&last.it.currency);
        standing
    }
}

impl Campaign {
    /// Whether it says the same, whenever it takes effect.
    pub fn says_the_same(&self, other: &Self) -> bool {
        let at = EventTime::default();
        let timeless = |c: &Self| Self { effective_from: at, ..c.clone() };
        timeless(self) == timeless(other)
    }
}

fn entry<T>(it: T, revision: u64, at: ReceivedAt, by: &str) -> Entry<T> {
    Entry { it, revision, at, by: by.to_owned() }
}

fn made<T>(entry: Entry<T>) -> Revocable<T> {
    Revocable { made: entry, revoked_at: None }
}

fn put<T>(into: &mut BTreeMap<String, T>, id: String, value: T) {
    into.insert(id, value);
}

fn revoke<T>(of: &mut BTreeMap<String, Revocable<T>>, id: &str, at: ReceivedAt) {
    // The first revocation stands.
    if let Some(found) = of.get_mut(id).filter(|r| r.revoked_at.is_none()) {
        found.revoked_at = Some(at);
    }
}

/// At most `count` ids behind `after`, in order, of those that `seen` lets through.
pub fn ids_after<'a, T>(
    map: &'a BTreeMap<String, T>,
    after: &str,
    count: usize,
    seen: impl Fn(&str) -> bool,
) -> Vec<&'a str> {
    let behind = map.range::<str, _>((Bound::Excluded(after), Bound::Unbounded));
    behind.map(|(id, _)| id.as_str()).filter(|id| seen(id)).take(count).collect()
}

/// What the API shows of an entry: what was put, and who changed it last.
pub fn shown<T: Serialize>(entry: &Entry<T>) -> Value {
    let mut object = serde_json::to_value(&entry.it).unwrap_or_default();
    object["metadataRevision"] = json!(entry.revision);
    object["changedAt"] = json!(entry.at.to_string());
    object["changedBy"] = json!(entry.by);
    object
}

/// What the API shows of something that may be revoked: never the hash of a secret.
pub fn shown_revocable<T: Serialize>(it: &Revocable<T>) -> Value {
    let mut object = shown(&it.made);
    if let Some(members) = object.as_object_mut() {
        members.remove("sha256");
    }
    if let Some(at) = it.revoked_at {
        object["revokedAt"] = json!(at.to_string());
    }
    object
}
