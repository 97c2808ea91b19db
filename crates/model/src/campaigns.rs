//! Campaigns with their history and their ads, as the collector resolves them before the append.
//!
//! Invariant: what is resolved is written into the record, so a later change of this table changes no old number; one
//! that is dated back alters only events appended afterwards.
//! Not here: where the table comes from (the configuration, the metadata store), and whose campaign it is.

use hashbrown::HashMap;

use crate::catalog::BillableType;
use crate::symbol::{Symbol, Symbols};
use crate::time::EventTime;

/// What a campaign pays for at a moment, in which currency, and whether it runs then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// What it pays for.
    pub billable: BillableType,
    /// ISO 4217 code.
    pub currency: Symbol,
    /// Whether it is active and the moment lies within its start and end.
    pub in_flight: bool,
}

/// What becomes of an event of a campaign that the table does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownCampaign {
    /// It counts under the default terms.
    #[default]
    LetThrough,
    /// It is rejected.
    Reject,
}

/// Whether a campaign runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CampaignStatus {
    /// It runs.
    #[default]
    Active,
    /// It does not; its events count all the same, and are flagged.
    Paused,
}

impl CampaignStatus {
    /// Every status.
    pub const ALL: [Self; 2] = [Self::Active, Self::Paused];

    /// Its name in configuration and API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Paused => "paused",
        }
    }

    /// The status of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.name() == name)
    }
}

/// What holds for a campaign from a moment on, up to its next version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CampaignVersion {
    /// From which occurredAt on. The first version also holds for all time before.
    pub valid_from: EventTime,
    /// What it pays for.
    pub billable: BillableType,
    /// Whether it runs.
    pub status: CampaignStatus,
    /// Events before it are out of flight.
    pub start: Option<EventTime>,
    /// Events from it on are out of flight.
    pub end: Option<EventTime>,
}

impl CampaignVersion {
    /// An active campaign without start and end, for all time.
    pub const fn always(billable: BillableType) -> Self {
        let valid_from = EventTime::from_micros(i64::MIN);
        Self { valid_from, billable, status: CampaignStatus::Active, start: None, end: None }
    }

    #[inline]
    fn in_flight(&self, at: EventTime) -> bool {
        self.status == CampaignStatus::Active
            && self.start.is_none_or(|start| start <= at)
            && self.end.is_none_or(|end| at < end)
    }
}

/// A campaign as declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CampaignSpec {
    /// Its id.
    pub id: String,
    /// ISO 4217 code; one for all versions.
    pub currency: String,
    /// Its history, in the order of declaration: of versions that are valid from the same moment the last one stands.
    /// Without any it is [`CampaignVersion::always`] cpm.
    pub versions: Vec<CampaignVersion>,
    /// Its ads.
    pub ads: Vec<String>,
}

impl CampaignSpec {
    /// The version whose terms hold at a moment; before the first one, the first.
    pub fn version_at(&self, at: EventTime) -> CampaignVersion {
        // Of equal moments the version declared last stands.
        let earliest = self.versions.iter().rev().min_by_key(|v| v.valid_from);
        let in_force = self.versions.iter().filter(|v| v.valid_from <= at).max_by_key(|v| v.valid_from);
        in_force.or(earliest).copied().unwrap_or(CampaignVersion::always(BillableType::Cpm))
    }
}

/// A campaign of the table. Most have one version, which then costs no second look-up.
#[derive(Clone)]
struct Campaign {
    currency: Symbol,
    first: CampaignVersion,
    /// The versions after it, ascending.
    later: Box<[CampaignVersion]>,
}

impl Campaign {
    fn of(spec: &CampaignSpec, symbols: &Symbols) -> Self {
        let mut versions = spec.versions.clone();
        if versions.is_empty() {
            versions.push(CampaignVersion::always(BillableType::Cpm));
        }
        // The sort is stable: of equal moments the one declared last is the last, and stands.
        versions.sort_by_key(|v| v.valid_from);
        versions.reverse();
        versions.dedup_by_key(|v| v.valid_from);
        versions.reverse();
        let first = versions.remove(0);
        Self { currency: symbols.intern(spec.currency.as_bytes()), first, later: versions.into() }
    }

    #[inline]
    fn at(&self, at: EventTime) -> Terms {
        let version = self.later.iter().rev().find(|v| v.valid_from <= at).unwrap_or(&self.first);
        Terms { billable: version.billable, currency: self.currency, in_flight: version.in_flight(at) }
    }
}

/// The table of campaigns.
#[derive(Clone)]
pub struct Campaigns {
    campaigns: HashMap<Symbol, Campaign>,
    ads: HashMap<Symbol, Symbol>,
    default: Terms,
    unknown: UnknownCampaign,
}

impl Campaigns {
    /// Builds the table. A campaign declared twice, or an ad of two campaigns, is an error: its id.
    pub fn build(
        specs: &[CampaignSpec],
        default_currency: &str,
        unknown: UnknownCampaign,
        symbols: &Symbols,
    ) -> Result<Self, String> {
        let currency = symbols.intern(default_currency.as_bytes());
        let default = Terms { billable: BillableType::Cpm, currency, in_flight: true };
        let mut table = Self { campaigns: HashMap::new(), ads: HashMap::new(), default, unknown };
        for spec in specs {
            let campaign = symbols.intern(spec.id.as_bytes());
            if table.campaigns.insert(campaign, Campaign::of(spec, symbols)).is_some() {
                return Err(spec.id.clone());
            }
            for ad in &spec.ads {
                if table.ads.insert(symbols.intern(ad.as_bytes()), campaign).is_some() {
                    return Err(ad.clone());
                }
            }
        }
        Ok(table)
    }

    /// Puts a campaign with its history, in place of the one with its id. The ads of `spec` are not looked at.
    pub fn put(&mut self, spec: &CampaignSpec, symbols: &Symbols) {
        self.campaigns.insert(symbols.intern(spec.id.as_bytes()), Campaign::of(spec, symbols));
    }

    /// Puts an ad into a campaign, out of the one that it was in.
    pub fn put_ad(&mut self, ad: &str, campaign: &str, symbols: &Symbols) {
        self.ads.insert(symbols.intern(ad.as_bytes()), symbols.intern(campaign.as_bytes()));
    }

    /// The campaign of an ad.
    pub fn of_ad(&self, ad: Symbol) -> Option<Symbol> {
        if self.ads.is_empty() { None } else { self.ads.get(&ad).copied() }
    }

    /// The terms of a campaign for an event of that moment: of the greatest `valid_from` that does not lie behind it,
    /// else of the first version. `None` where an unknown campaign is to be rejected.
    #[inline]
    pub fn terms(&self, campaign: Symbol, occurred_at: EventTime) -> Option<Terms> {
        if self.campaigns.is_empty() && self.unknown == UnknownCampaign::LetThrough {
            return Some(self.default);
        }
        self.look_up(campaign, occurred_at)
    }

    fn look_up(&self, campaign: Symbol, occurred_at: EventTime) -> Option<Terms> {
        match self.campaigns.get(&campaign) {
            Some(known) => Some(known.at(occurred_at)),
            None if self.unknown == UnknownCampaign::LetThrough => Some(self.default),
            None => None,
        }
    }

    /// The currency of a campaign, the same at every moment; `None` where an unknown campaign is to be rejected.
    pub fn currency(&self, campaign: Symbol) -> Option<Symbol> {
        self.terms(campaign, EventTime::default()).map(|terms| terms.currency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use BillableType::{Cpa, Cpc, Cpm};

    /// Moments of the tests are seconds since 1970.
    fn at(seconds: i64) -> EventTime {
        EventTime::from_micros(seconds * 1_000_000)
    }

    fn from(seconds: i64, billable: BillableType) -> CampaignVersion {
        CampaignVersion { valid_from: at(seconds), ..CampaignVersion::always(billable) }
    }

    fn spec(versions: Vec<CampaignVersion>) -> CampaignSpec {
        CampaignSpec { id: "c".to_owned(), currency: "EUR".to_owned(), versions, ads: Vec::new() }
    }

    fn table(versions: Vec<CampaignVersion>, unknown: UnknownCampaign) -> (Campaigns, Symbol) {
        let symbols = Symbols::default();
        let table = Campaigns::build(&[spec(versions)], "USD", unknown, &symbols).unwrap();
        (table, symbols.intern(b"c"))
    }

    #[test]
    fn the_version_that_holds_is_the_latest_that_does_not_lie_behind_the_event() {
        let check = |versions: &[CampaignVersion], want: &[(i64, BillableType)]| {
            let (table, campaign) = table(versions.to_vec(), UnknownCampaign::Reject);
            let spec = spec(versions.to_vec());
            for (seconds, billable) in want {
                assert_eq!(spec.version_at(at(*seconds)).billable, *billable, "declared: {versions:?} at {seconds}");
                let terms = table.terms(campaign, at(*seconds)).unwrap();
                assert_eq!((terms.billable, terms.in_flight), (*billable, true), "{versions:?} at {seconds}");
            }
        };
        check(&[], &[(-1, Cpm), (0, Cpm)]);
        check(&[CampaignVersion::always(Cpa)], &[(-1, Cpa), (9, Cpa)]);
        let history = [from(10, Cpm), from(20, Cpc), from(30, Cpa)];
        let want = [(9, Cpm), (10, Cpm), (19, Cpm), (20, Cpc), (29, Cpc), (30, Cpa), (1 << 40, Cpa)];
        check(&history, &want);
        check(&[history[2], history[0], history[1]], &want);
        // Of the same moment the one declared last stands, also as the first version.
        check(&[from(10, Cpm), from(20, Cpc), from(20, Cpa)], &[(19, Cpm), (20, Cpa)]);
        check(&[from(10, Cpm), from(10, Cpc), from(20, Cpa)], &[(9, Cpc), (10, Cpc), (20, Cpa)]);
        // Dated back before the first version.
        check(&[from(10, Cpm), from(5, Cpc)], &[(4, Cpc), (5, Cpc), (9, Cpc), (10, Cpm)]);
    }

    #[test]
    fn in_flight_is_active_and_from_start_up_to_end() {
        let check = |status, start: Option<i64>, end: Option<i64>, want: &[(i64, bool)]| {
            let version =
                CampaignVersion { status, start: start.map(at), end: end.map(at), ..CampaignVersion::always(Cpc) };
            let (table, campaign) = table(vec![version], UnknownCampaign::Reject);
            for (seconds, in_flight) in want {
                let terms = table.terms(campaign, at(*seconds)).unwrap();
                assert_eq!((terms.billable, terms.in_flight), (Cpc, *in_flight), "{version:?} at {seconds}");
            }
        };
        use CampaignStatus::{Active, Paused};
        check(Active, None, None, &[(-1, true), (1, true)]);
        check(Active, Some(10), None, &[(9, false), (10, true), (1 << 40, true)]);
        check(Active, None, Some(20), &[(-1, true), (19, true), (20, false)]);
        check(Active, Some(10), Some(20), &[(9, false), (10, true), (19, true), (20, false)]);
        check(Active, Some(20), Some(10), &[(9, false), (15, false), (21, false)]);
        check(Paused, Some(10), Some(20), &[(9, false), (15, false), (21, false)]);
    }

    #[test]
    fn an_unknown_campaign_is_in_flight_or_rejected() {
        for (unknown, want) in [(UnknownCampaign::LetThrough, Some((Cpm, true))), (UnknownCampaign::Reject, None)] {
            let (some, _) = table(Vec::new(), unknown);
            let none = Campaigns::build(&[], "USD", unknown, &Symbols::default()).unwrap();
            for table in [some, none] {
                let terms = table.terms(Symbol::OTHER, at(0));
                assert_eq!(terms.map(|t| (t.billable, t.in_flight)), want);
                assert_eq!(table.currency(Symbol::OTHER).is_some(), want.is_some());
            }
        }
    }
}
