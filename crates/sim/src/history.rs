//! A history: what senders, operators and the machine do, drawn from a seed.
//!
//! Steps are plain data and mean something whichever others are left out, so that a failing history can be made
//! shorter. Invariant: the same seed draws the same history. Not here: what happens then (run).

use adsum_disk::Fault;
use adsum_model::campaigns::{CampaignSpec, CampaignStatus, CampaignVersion, UnknownCampaign};
use adsum_model::catalog::{BillableType, CatalogSpec, DedupeSpec, DimensionSource, DimensionSpec, NullPolicy};
use adsum_model::time::{EventTime, MICROS_PER_SECOND, format_utc};
use adsum_pipeline::CheckpointRules;
use serde_json::{Map, Value, json};

use crate::random::Random;
use crate::sent::{Entry, ImportMark};
use crate::setup::{Metadata, Setup, Times};
use crate::world::{Keeping, Start};

/// What is done.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Senders send, a tick passes, an import goes on: one frame.
    Send {
        /// When it is appended.
        at: i64,
        /// What they do without an answer.
        client: Client,
        /// What is sent.
        entries: Vec<Entry>,
    },
    /// An operator replays.
    Replay {
        /// When.
        at: i64,
        /// Which entries of the quarantine, as places in its list.
        held: Vec<u64>,
        /// Which records of the log, whatever they are.
        any: Vec<u64>,
    },
    /// The metadata changes, which is a record: from it on, events are resolved under this state.
    Metadata {
        /// When.
        at: i64,
        /// The state.
        state: usize,
    },
    /// From the operation so many operations ahead on, a fault strikes.
    Fault {
        /// Operations ahead.
        ahead: u64,
        /// What goes wrong.
        fault: Fault,
    },
    /// The process ends without a fault and starts again.
    Restart(End),
    /// What the process shows is compared with the oracle.
    Look,
    /// A bit of a copy of the disk flips, a few times from this place on: what starts from it refuses or is right.
    Damage {
        /// Which file, and where in it.
        place: u64,
    },
}

/// What the senders of a frame do without an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Client {
    /// They send it again until it is acknowledged.
    #[default]
    Waits,
    /// The acknowledgement does not reach them either, and they send all of it once more.
    Again,
    /// They have vanished.
    Gone,
}

impl Step {
    /// A frame whose senders wait for the answer.
    pub fn send(at: i64, entries: Vec<Entry>) -> Self {
        Self::Send { at, client: Client::Waits, entries }
    }
}

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It is asked to: state is committed and the log is closed.
    Asked,
    /// It is killed.
    Killed,
    /// The power fails.
    Power,
}

/// How the process comes back after an end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Return {
    /// How it starts.
    pub start: Start,
    /// Whether the power fails at an end that a fault made.
    pub power: bool,
    /// A fault in the start itself, so many operations ahead.
    pub again: Option<(u64, Fault)>,
}

/// A history.
#[derive(Clone, Debug)]
pub struct History {
    /// What it was drawn from; the disk's choices follow from it too.
    pub seed: u64,
    /// The configuration.
    pub setup: Setup,
    /// How log and store are kept.
    pub keeping: Keeping,
    /// Whether the process is compared with the oracle after every frame, and not only at looks and ends. Reports read
    /// the disk, so that some faults strike others where they are asked for.
    pub looks_always: bool,
    /// How the process starts at first.
    pub first: Start,
    /// How it comes back, in turn.
    pub returns: Vec<Return>,
    /// What is done.
    pub steps: Vec<Step>,
}

const SECOND: i64 = MICROS_PER_SECOND;
const FAULTS: [Fault; 9] = [
    Fault::Halt,
    Fault::FailSync,
    Fault::FailAppend,
    Fault::FailRename,
    Fault::FailRemove,
    Fault::FailSyncDir,
    Fault::FailTruncate,
    Fault::FailCreate,
    Fault::FailRead,
];

impl History {
    /// Draws the history of a seed.
    pub fn draw(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let setup = draw_setup(&mut random);
        let keeping = Keeping {
            segment_bytes: *random.pick(&[600, 1_500, 4_000, 1 << 20]),
            verify_bytes: *random.pick(&[0, 2_000, 1 << 30]),
            merge_fan_in: random.between(2, 4) as usize,
            merge_base_bytes: *random.pick(&[100, 2_000, 1 << 20]),
        };
        let first = draw_start(&mut random);
        let returns = (0..8).map(|_| draw_return(&mut random)).collect();
        let looks_always = random.percent(50);
        let steps = Drawer::new(&mut random, &setup).steps();
        Self { seed, setup, keeping, looks_always, first, returns, steps }
    }
}

fn draw_start(random: &mut Random) -> Start {
    let checkpoints = CheckpointRules {
        records_max: *random.pick(&[1, 5, 30, 1 << 20]),
        cells_max: *random.pick(&[3, 40, 1 << 20]),
        frames_max: *random.pick(&[1, 2, 7, 4096]),
        ..CheckpointRules::default()
    };
    Start { workers: *random.pick(&[1, 2, 3, 16]), checkpoints, commit_lag: *random.pick(&[0, 0, 1, 4]) }
}

fn draw_fault(random: &mut Random) -> Fault {
    match random.below(12) {
        0..=3 => Fault::Halt,
        4 => Fault::FullAfter(random.below(3_000)),
        5 => Fault::FailSync,
        _ => *random.pick(&FAULTS),
    }
}

fn draw_return(random: &mut Random) -> Return {
    let again = random.percent(30).then(|| (random.below(12), draw_fault(random)));
    Return { start: draw_start(random), power: random.percent(50), again }
}

fn strings(names: &[&str]) -> Vec<String> {
    names.iter().map(|n| (*n).to_owned()).collect()
}

fn draw_setup(random: &mut Random) -> Setup {
    let section = DimensionSpec {
        id: 1000,
        name: "section".to_owned(),
        source: DimensionSource::Field("section".to_owned()),
        nulls: random.pick(&[NullPolicy::Keep, NullPolicy::Replace("none".to_owned())]).clone(),
        limit: random.between(1, 4) as u32,
        doc: String::new(),
    };
    let site = DimensionSpec {
        id: 1001,
        name: "site".to_owned(),
        source: DimensionSource::Attribute("site".to_owned()),
        nulls: NullPolicy::Keep,
        limit: random.between(2, 5) as u32,
        doc: String::new(),
    };
    let rollups = [
        vec![strings(&["campaignId", "country"]), strings(&["section", "site", "deviceType"])],
        vec![strings(&["site"])],
        vec![strings(&["campaignId", "adId", "section"]), strings(&["country"]), strings(&["publisherId", "site"])],
    ];
    let catalog = CatalogSpec {
        dimensions: vec![section, site],
        required: random
            .pick(&[
                strings(&["eventId", "eventType", "occurredAt", "campaignId"]),
                strings(&["eventType", "occurredAt"]),
            ])
            .clone(),
        rollups: random.pick(&rollups).clone(),
        dedupe: draw_dedupe(random),
        bucket_seconds: *random.pick(&[60, 60, 10, 1]),
        ..CatalogSpec::default()
    };
    let times = Times {
        future: random.between(5, 90) * SECOND,
        horizon: random.between(20, 400) * SECOND,
        disorder: random.between(0, 30) * SECOND,
        idle: random.between(10, 60) * SECOND,
    };
    let unknown = *random.pick(&[UnknownCampaign::LetThrough, UnknownCampaign::LetThrough, UnknownCampaign::Reject]);
    let metadata = (0..4).map(|i| draw_metadata(random, unknown, if i == 1 { "EUR" } else { "USD" })).collect();
    Setup { catalog, times, metadata }
}

/// A state of the metadata. Of the others it may differ in everything: what changes, may be dated back.
fn draw_metadata(random: &mut Random, unknown: UnknownCampaign, c1: &str) -> Metadata {
    let mut campaign = |id: &str, billable, currency: &str, ads: &[&str]| CampaignSpec {
        id: id.to_owned(),
        currency: currency.to_owned(),
        versions: draw_versions(random, billable),
        ads: strings(ads),
    };
    Metadata {
        campaigns: vec![
            campaign("c1", BillableType::Cpm, c1, &["a1", "a2"]),
            campaign("c2", BillableType::Cpc, "USD", &["a3"]),
            campaign("c3", BillableType::Cpa, "EUR", &[]),
        ],
        default_currency: "USD".to_owned(),
        unknown,
    }
}

/// A campaign's history: its first version is of this billable type, changes follow in any order.
fn draw_versions(random: &mut Random, billable: BillableType) -> Vec<CampaignVersion> {
    let moment = |random: &mut Random| EventTime::from_micros((BEGIN + random.between(0, 60) * 20) * SECOND);
    let mut versions = vec![CampaignVersion::always(billable)];
    for _ in 0..*random.pick(&[0, 0, 1, 2, 3]) {
        versions.push(CampaignVersion {
            valid_from: moment(random),
            billable: *random.pick(&BillableType::ALL),
            ..versions[0]
        });
    }
    if random.percent(20) {
        versions.remove(0);
    }
    for version in &mut versions {
        version.status = *random.pick(&[CampaignStatus::Active, CampaignStatus::Active, CampaignStatus::Paused]);
        version.start = random.percent(20).then(|| moment(random));
        version.end = random.percent(20).then(|| moment(random));
    }
    versions
}

fn draw_dedupe(random: &mut Random) -> Vec<DedupeSpec> {
    let content = Some(strings(&["campaignId", "adId", "impressionId"]));
    let by_click = DedupeSpec {
        event_types: strings(&["click"]),
        key: strings(&["impressionId", "clickOrdinal"]),
        content: content.clone(),
        since_micros: i64::MIN,
        ..DedupeSpec::default()
    };
    let by_user = DedupeSpec {
        sources: strings(&["web"]),
        key: strings(&["adId", "userId"]),
        time_bucket_seconds: 10,
        content,
        since_micros: i64::MIN,
        ..DedupeSpec::default()
    };
    let group = DedupeSpec {
        sources: strings(&["web", "server"]),
        group: Some("beacons".to_owned()),
        key: strings(&["eventId"]),
        since_micros: i64::MIN,
        ..DedupeSpec::default()
    };
    let off = DedupeSpec { sources: strings(&["app"]), since_micros: i64::MIN, ..DedupeSpec::default() };
    let from_then_on = DedupeSpec { since_micros: (BEGIN + 200) * SECOND, ..by_click.clone() };
    random
        .pick(&[vec![], vec![], vec![by_click, off.clone()], vec![by_user], vec![group, off], vec![from_then_on]])
        .clone()
}

/// By how many seconds clocks jump: minutes, an hour, days, a year.
const CLOCK_JUMPS: [i64; 6] = [60, 600, 3_600, 90_000, 500_000, 31_536_000];
/// About when histories play: 2026-01-31T23:55:00Z, so that a day and an hour end in them. Seconds since 1970.
const BEGIN: i64 = 1_769_903_700;

struct Drawer<'a> {
    random: &'a mut Random,
    setup: &'a Setup,
    now: i64,
    /// Times are multiples of this: coarse ones meet limits exactly.
    grain: i64,
    /// Events sent so far.
    events: Vec<(String, Map<String, Value>)>,
    /// Requests that the network has not brought yet: source and lines.
    on_the_way: Vec<(String, Vec<String>)>,
    /// How many event ids there are: few, and keys are used again.
    ids: u64,
    import: Option<(String, String)>,
    import_line: u64,
    runs: u64,
}

impl<'a> Drawer<'a> {
    fn new(random: &'a mut Random, setup: &'a Setup) -> Self {
        let now = BEGIN * SECOND + random.between(0, 600 * SECOND);
        let ids = *random.pick(&[40, 300, 5_000]);
        let grain = *random.pick(&[1, SECOND, 5 * SECOND]);
        Self {
            random,
            setup,
            now,
            grain,
            events: Vec::new(),
            on_the_way: Vec::new(),
            ids,
            import: None,
            import_line: 0,
            runs: 0,
        }
    }

    fn steps(&mut self) -> Vec<Step> {
        let count = self.random.between(12, 60);
        let faulty = self.random.percent(80);
        let jumps = self.random.percent(40);
        let mut steps = Vec::new();
        for _ in 0..count {
            self.now += self.random.between(0, 15 * SECOND);
            if jumps && self.random.percent(6) {
                self.jump();
            }
            self.now -= self.now % self.grain;
            if faulty && self.random.percent(14) {
                let ahead = self.random.below(25);
                steps.push(Step::Fault { ahead, fault: draw_fault(self.random) });
            }
            steps.push(self.step());
        }
        steps
    }

    /// The wall clock jumps, or nothing happens for a while.
    fn jump(&mut self) {
        let span = *self.random.pick(&CLOCK_JUMPS) * SECOND;
        self.now += match self.random.below(4) {
            0 => span,
            1 => -span,
            _ => self.random.between(-span, span),
        };
    }

    fn step(&mut self) -> Step {
        match self.random.below(100) {
            0..=63 => self.live(),
            64..=71 => Step::send(self.now, vec![Entry::Tick { at: self.now }]),
            72..=79 => self.import(),
            80..=87 => {
                let draw =
                    |random: &mut Random, max: i64| (0..random.between(0, max)).map(|_| random.number()).collect();
                let held = draw(self.random, 4);
                let any = if self.random.percent(30) { draw(self.random, 2) } else { Vec::new() };
                Step::Replay { at: self.now, held, any }
            }
            88..=91 => {
                let state = self.random.below(self.setup.metadata.len() as u64) as usize;
                Step::Metadata { at: self.now, state }
            }
            92..=94 => self.doubt(),
            95..=96 => Step::Restart(*self.random.pick(&[End::Asked, End::Killed, End::Power])),
            97 => Step::Look,
            _ => Step::Damage { place: self.random.number() },
        }
    }

    /// Requests as the network brings them: now, later, or now and later.
    fn live(&mut self) -> Step {
        let mut requests = Vec::new();
        if !self.on_the_way.is_empty() && self.random.percent(30) {
            let at = self.random.below(self.on_the_way.len() as u64) as usize;
            requests.push(self.on_the_way.swap_remove(at));
        }
        for _ in 0..self.random.between(1, 3) {
            let source = (*self.random.pick(&["web", "server", "app"])).to_owned();
            let lines: Vec<String> = (0..self.random.between(1, 6)).map(|_| self.line(&source)).collect();
            match self.random.below(100) {
                0..=5 => self.on_the_way.push((source, lines)),
                6..=11 => {
                    self.on_the_way.push((source.clone(), lines.clone()));
                    requests.push((source, lines));
                }
                _ => requests.push((source, lines)),
            }
        }
        let mut entries = Vec::new();
        for (source, lines) in requests {
            // Hardly ever it was stamped in a clock doubt, by a clock that was ahead, which has ended since.
            let ahead = if self.random.percent(2) { *self.random.pick(&CLOCK_JUMPS) * SECOND } else { 0 };
            let received_at = self.now - self.random.between(0, 2 * SECOND) + ahead;
            let line = |text| Entry::Line { source: source.clone(), import: false, received_at, text };
            entries.extend(lines.into_iter().map(line));
        }
        if self.random.percent(10) {
            entries.push(Entry::Tick { at: self.now });
        }
        if self.random.percent(4) {
            entries.push(Entry::ClockDoubt { begun: self.random.percent(40), at: self.now });
        }
        let client = *self.random.pick(&[Client::Waits, Client::Waits, Client::Waits, Client::Again, Client::Gone]);
        Step::Send { at: self.now, client, entries }
    }

    /// The clock comes into doubt or out of it, with ticks on either side, after a while without events; often it has
    /// jumped.
    fn doubt(&mut self) -> Step {
        self.now += self.random.between(0, 120 * SECOND);
        self.now -= self.now % self.grain;
        let (at, begun) = (self.now, self.random.percent(50));
        if self.random.percent(60) {
            self.jump();
        }
        let entries = vec![Entry::Tick { at: at - SECOND }, Entry::ClockDoubt { begun, at }, Entry::Tick { at }];
        Step::send(at, entries)
    }

    fn import(&mut self) -> Step {
        let at = self.now;
        let Some((source, run)) = self.import.clone() else {
            self.runs += 1;
            let source = (*self.random.pick(&["history", "history", "web"])).to_owned();
            let run = format!("im_{}", self.runs);
            self.import = Some((source.clone(), run.clone()));
            return Step::send(at, vec![Entry::Import { source, run, mark: ImportMark::Begin, at }]);
        };
        if self.random.percent(20) {
            self.import = None;
            return Step::send(at, vec![Entry::Import { source, run, mark: ImportMark::End, at }]);
        }
        let mut entries = Vec::new();
        for _ in 0..self.random.between(1, 8) {
            let text = self.line(&source);
            entries.push(Entry::Line { source: source.clone(), import: true, received_at: at, text });
            self.import_line += 1;
        }
        let mark = ImportMark::Progress { line: self.import_line };
        entries.push(Entry::Import { source, run, mark, at });
        Step::send(at, entries)
    }

    /// A line of a sender: new, sent before, in conflict with one sent before, or malformed.
    fn line(&mut self, source: &str) -> String {
        if self.random.percent(4) {
            return (*self.random.pick(&[
                "{\"eventType\":",
                "[1,2]",
                "{\"eventType\":\"banner\",\"occurredAt\":\"2026-02-01T00:00:00Z\"}",
                "{\"eventId\":\"e1\",\"occurredAt\":\"2026-02-01T00:00:00Z\",\"campaignId\":\"c1\"}",
                "{\"eventId\":\"e1\",\"eventType\":\"click\",\"occurredAt\":\"2026-02-30T00:00:00Z\",\"campaignId\":\"c1\"}",
                "not json at all",
            ]))
            .to_owned();
        }
        let again = self.random.below(100);
        if again < 36 && !self.events.is_empty() {
            // Mostly what this sender sent of late, for that is what it retries; sometimes anything of anybody's.
            let own: Vec<usize> =
                (0..self.events.len()).rev().filter(|i| self.events[*i].0 == source).take(15).collect();
            let any = self.random.below(self.events.len() as u64) as usize;
            let at = if own.is_empty() || again.is_multiple_of(12) { any } else { *self.random.pick(&own) };
            let mut event = self.events[at].1.clone();
            if again % 6 == 1 {
                self.change(&mut event);
            }
            self.events.push((source.to_owned(), event.clone()));
            return Value::Object(event).to_string();
        }
        let event = self.event();
        self.events.push((source.to_owned(), event.clone()));
        Value::Object(event).to_string()
    }

    /// Makes another event of it: mostly a conflict.
    fn change(&mut self, event: &mut Map<String, Value>) {
        match self.random.below(8) {
            0 => event.insert("campaignId".to_owned(), json!(*self.random.pick(&["c1", "c2", "c4"]))),
            1 => event.insert("occurredAt".to_owned(), json!(self.occurred_at())),
            2 => event.insert("impressionId".to_owned(), json!(*self.random.pick(&["i1", "i2"]))),
            3 => event.insert("color".to_owned(), json!("red")),
            4 => event.insert("userAgent".to_owned(), json!("another browser: no content")),
            5 => event.insert("priceMicros".to_owned(), json!(self.random.below(5_000_000))),
            6 => event.insert("receivedAt".to_owned(), json!("2026-01-01T00:00:02Z")),
            _ => event.insert("attributes".to_owned(), json!({ "site": "s9", "b": null, "a": [1, 2] })),
        };
    }

    fn occurred_at(&mut self) -> String {
        let times = self.setup.times;
        let at = match self.random.below(100) {
            0..=69 => self.now - self.random.between(0, 20 * SECOND),
            70..=79 => self.now - self.random.between(0, times.horizon),
            80..=87 => self.now - times.horizon - self.random.between(-40 * SECOND, 3 * times.horizon),
            88..=93 => self.now + self.random.between(0, times.future),
            _ => self.now + times.future + self.random.between(-2 * SECOND, 600 * SECOND),
        };
        format_utc(at - at.rem_euclid(self.grain))
    }

    fn event(&mut self) -> Map<String, Value> {
        let mut event = Map::new();
        let kind = *self.random.pick(&["impression", "impression", "click", "conversion"]);
        event.insert("eventType".to_owned(), json!(kind));
        event.insert("occurredAt".to_owned(), json!(self.occurred_at()));
        event.insert("eventId".to_owned(), json!(format!("e{}", self.random.below(self.ids))));
        if self.random.percent(90) {
            event.insert("campaignId".to_owned(), json!(*self.random.pick(&["c1", "c2", "c3", "c4"])));
        }
        let impression = format!("i{}", self.random.below(self.ids / 4));
        let user = format!("u{}", self.random.below(self.ids / 10));
        let some = |random: &mut Random, event: &mut Map<String, Value>, chance, name: &str, values: &[&str]| {
            if random.percent(chance) {
                event.insert(name.to_owned(), json!(*random.pick(values)));
            }
        };
        let random = &mut *self.random;
        some(random, &mut event, 70, "adId", &["a1", "a2", "a3", "a4"]);
        some(random, &mut event, 80, "impressionId", &[&impression]);
        some(random, &mut event, 80, "userId", &[&user]);
        some(random, &mut event, 60, "country", &["US", "DE", "other"]);
        some(random, &mut event, 50, "section", &["news", "sport", "other", "s4", "s5", "s6"]);
        some(random, &mut event, 40, "deviceType", &["mobile", "desktop"]);
        some(random, &mut event, 40, "publisherId", &["p1", "p2"]);
        some(random, &mut event, 10, "currency", &["USD", "EUR"]);
        if random.percent(80) {
            event.insert("clickOrdinal".to_owned(), json!(random.between(1, 2)));
        }
        if random.percent(70) {
            event.insert("priceMicros".to_owned(), json!(random.below(3_000_000)));
        }
        if random.percent(20) {
            event.insert("valueMicros".to_owned(), json!(random.below(9_000_000)));
        }
        if random.percent(30) {
            let site = json!(*random.pick(&["s1", "s2", "s3", "s4", "s5", "s6"]));
            let site = if random.percent(10) { json!(17) } else { site };
            event.insert("attributes".to_owned(), json!({ "site": site, "x": random.below(3) }));
        }
        if random.percent(5) {
            event.insert("country".to_owned(), Value::Null);
        }
        if random.percent(5) {
            event.insert("receivedAt".to_owned(), json!("2026-01-01T00:00:00+01:00"));
        }
        if random.percent(5) {
            event.insert("edgeReceivedAt".to_owned(), json!("2026-01-01T00:00:01Z"));
        }
        event
    }
}
