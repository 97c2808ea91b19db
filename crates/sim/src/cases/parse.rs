//! Reads a case.
//!
//! A case is lines: `#` says what it shows; then settings; then what happens, each with its NDJSON lines behind it; then
//! `expect`, and what must come of it. Invariant: a line that means nothing is an error that names it.
//!
//! Settings: `times future=300 horizon=3600 disorder=60 idle=120` (seconds), `bucket_seconds 10`, `rollup campaignId
//! country`, `required eventType occurredAt`, `type view id=1000 plural=views`, `dimension section id=1000 field=section
//! limit=2 nulls=reject`, `dedupe sources=web types=click group=g key=eventId bucket=10 content=adId since=<time>`,
//! `dedupe off sources=app`, `currency USD`, `unknown reject`, `campaign c1 cpc USD ads=a1,a2
//! status=paused start=<time> end=<time>`, `version c1 cpm from=<time> status=active` (one more of its history).
//! What happens: `live <source> at <time>`, `also live <source> at <time>` (in the same frame, which is appended then),
//! `import <source> at <time>` (a whole run), `tick <time>`, `replay <offset>... at <time>`, `campaign ...` and
//! `version ...` (it changes; with `at <time>` behind it the change is a record), `doubt begun|ended at <time>`,
//! `restart`.

use adsum_model::campaigns::{CampaignSpec, CampaignStatus, CampaignVersion, UnknownCampaign};
use adsum_model::catalog::{
    BillableType, CatalogSpec, DedupeSpec, DimensionSource, DimensionSpec, EventTypeSpec, NullPolicy,
};
use adsum_model::time::{EventTime, MICROS_PER_SECOND, parse_rfc3339};

use super::Action;
use crate::sent::{Entry, ImportMark, SentFrame};
use crate::setup::{Metadata, Setup, Times};

/// A case.
#[derive(Clone, Debug)]
pub struct Case {
    pub(crate) setup: Setup,
    pub(crate) actions: Vec<Action>,
    /// Everything before the expectation.
    body: String,
    /// What must come of it.
    expected: String,
}

/// Named and other words of a line.
struct Words<'a> {
    plain: Vec<&'a str>,
    named: Vec<(&'a str, &'a str)>,
}

impl<'a> Words<'a> {
    fn of(line: &'a str) -> Self {
        let (mut plain, mut named) = (Vec::new(), Vec::new());
        for word in line.split_whitespace() {
            match word.split_once('=') {
                Some(pair) => named.push(pair),
                None => plain.push(word),
            }
        }
        Self { plain, named }
    }

    fn named(&self, name: &str) -> Option<&'a str> {
        self.named.iter().find(|(n, _)| *n == name).map(|(_, value)| *value)
    }

    fn list(&self, name: &str) -> Vec<String> {
        self.named(name).map(|v| v.split(',').map(str::to_owned).collect()).unwrap_or_default()
    }

    fn number<T: std::str::FromStr>(&self, name: &str, default: T) -> Result<T, String> {
        self.named(name).map_or(Ok(default), |v| v.parse().map_err(|_| format!("{name}={v} is no number")))
    }
}

fn time(text: &str) -> Result<i64, String> {
    parse_rfc3339(text.as_bytes()).map_err(|e| format!("{text} is no time: {e:?}"))
}

/// A version of a campaign, by the named words of its line.
fn version(billable: &str, words: &Words<'_>) -> Result<CampaignVersion, String> {
    let billable = BillableType::from_name(billable).ok_or_else(|| format!("{billable} is no billable type"))?;
    let moment = |name| words.named(name).map(|t| time(t).map(EventTime::from_micros)).transpose();
    let status = words.named("status").unwrap_or(CampaignStatus::Active.name());
    let always = CampaignVersion::always(billable);
    Ok(CampaignVersion {
        valid_from: moment("from")?.unwrap_or(always.valid_from),
        status: CampaignStatus::from_name(status).ok_or_else(|| format!("{status} is no status"))?,
        start: moment("start")?,
        end: moment("end")?,
        ..always
    })
}

impl Case {
    /// Reads a case.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (body, expected) = match text.split_once("\nexpect\n") {
            Some((body, expected)) => (body.to_owned() + "\n", expected.to_owned()),
            None => (text.trim_end().to_owned() + "\n", String::new()),
        };
        let mut reader = Reader::new();
        for (i, line) in body.lines().enumerate() {
            reader.line(line).map_err(|e| format!("line {}: {e}", i + 1))?;
        }
        let (setup, actions) = reader.finish();
        Ok(Self { setup, actions, body, expected })
    }

    /// What must come of it.
    pub fn expected(&self) -> &str {
        &self.expected
    }

    /// The whole text, with another expectation.
    pub fn with_expected(&self, expected: &str) -> String {
        format!("{}\nexpect\n{expected}", self.body.trim_end().to_owned() + "\n")
    }
}

struct Reader {
    setup: Setup,
    actions: Vec<Action>,
    /// How lines that follow are taken in: source, whether by an import, when.
    intake: Option<(String, bool, i64)>,
    frame: Vec<Entry>,
    appended_at: i64,
    imports: u64,
}

impl Reader {
    fn new() -> Self {
        let seconds = |s: i64| s * MICROS_PER_SECOND;
        let metadata = Metadata {
            campaigns: Vec::new(),
            default_currency: "USD".to_owned(),
            unknown: UnknownCampaign::LetThrough,
        };
        let setup = Setup {
            catalog: CatalogSpec { rollups: Vec::new(), ..CatalogSpec::default() },
            times: Times { future: seconds(300), horizon: seconds(3600), disorder: seconds(60), idle: seconds(120) },
            metadata: vec![metadata],
        };
        Self { setup, actions: Vec::new(), intake: None, frame: Vec::new(), appended_at: 0, imports: 0 }
    }

    fn finish(mut self) -> (Setup, Vec<Action>) {
        self.end_frame();
        if self.setup.catalog.rollups.is_empty() {
            self.setup.catalog.rollups = vec![vec!["campaignId".to_owned()]];
        }
        (self.setup, self.actions)
    }

    fn push(&mut self, entries: Vec<Entry>, appended_at: i64) {
        let metadata = self.setup.metadata.len() - 1;
        self.actions.push(Action::Frame(SentFrame { appended_at, metadata, entries }));
    }

    /// Ends the frame that lines were added to; of an import also its run.
    fn end_frame(&mut self) {
        let Some((source, import, at)) = self.intake.take() else { return };
        let mut entries = std::mem::take(&mut self.frame);
        if !import {
            return self.push(entries, self.appended_at);
        }
        self.imports += 1;
        let run = format!("im_{}", self.imports);
        let mark = |mark| Entry::Import { source: source.clone(), run: run.clone(), mark, at };
        let line = entries.len() as u64;
        entries.push(mark(ImportMark::Progress { line }));
        self.push(vec![mark(ImportMark::Begin)], at);
        self.push(entries, at);
        self.push(vec![mark(ImportMark::End)], at);
    }

    fn line(&mut self, line: &str) -> Result<(), String> {
        if let Some((source, import, received_at)) = self.intake.clone()
            && (line.starts_with('{') || line.starts_with('!'))
        {
            // A line that begins with `!` is sent without it: what is no JSON object.
            let text = line.strip_prefix('!').unwrap_or(line).to_owned();
            self.frame.push(Entry::Line { source, import, received_at, text });
            return Ok(());
        }
        let words = Words::of(line);
        match words.plain[..] {
            [] if words.named.is_empty() => Ok(()),
            [first, ..] if first.starts_with('#') => Ok(()),
            ["live" | "import", source, "at", at] => {
                self.end_frame();
                self.intake = Some((source.to_owned(), words.plain[0] == "import", time(at)?));
                self.appended_at = time(at)?;
                Ok(())
            }
            ["also", "live", source, "at", at] if matches!(self.intake, Some((_, false, _))) => {
                self.intake = Some((source.to_owned(), false, time(at)?));
                self.appended_at = time(at)?;
                Ok(())
            }
            ["tick", at] => {
                self.end_frame();
                let at = time(at)?;
                self.push(vec![Entry::Tick { at }], at);
                Ok(())
            }
            ["replay", ref targets @ .., "at", at] => {
                self.end_frame();
                let targets = targets.iter().map(|t| t.parse().map_err(|_| format!("{t} is no offset")));
                let targets: Vec<u64> = targets.collect::<Result<_, String>>()?;
                self.push(targets.into_iter().map(|target| Entry::Replay { target }).collect(), time(at)?);
                Ok(())
            }
            ["restart"] => {
                self.end_frame();
                self.actions.push(Action::Restart);
                Ok(())
            }
            ["campaign", id, billable, currency, ref at @ ..] => {
                let versions = vec![version(billable, &words)?];
                let (id, currency, ads) = (id.to_owned(), currency.to_owned(), words.list("ads"));
                self.change(at, |campaigns| {
                    campaigns.retain(|c| c.id != id);
                    campaigns.push(CampaignSpec { id, currency, versions, ads });
                    Ok(())
                })
            }
            ["version", id, billable, ref at @ ..] => {
                let version = version(billable, &words)?;
                self.change(at, |campaigns| {
                    let campaign =
                        campaigns.iter_mut().find(|c| c.id == id).ok_or_else(|| format!("no campaign {id}"))?;
                    campaign.versions.push(version);
                    Ok(())
                })
            }
            ["doubt", word @ ("begun" | "ended"), "at", at] => {
                self.end_frame();
                let at = time(at)?;
                self.push(vec![Entry::ClockDoubt { begun: word == "begun", at }], at);
                Ok(())
            }
            _ if self.actions.is_empty() && self.intake.is_none() => self.setting(&words),
            _ => Err(format!("{line:?} is nothing that happens")),
        }
    }

    /// Declares campaigns, or changes them: then what follows is resolved under a new state of the metadata. `at` says
    /// when, where the change is a record of its own.
    fn change(
        &mut self,
        at: &[&str],
        change: impl FnOnce(&mut Vec<CampaignSpec>) -> Result<(), String>,
    ) -> Result<(), String> {
        self.end_frame();
        if !self.actions.is_empty() {
            let latest = self.setup.metadata[self.setup.metadata.len() - 1].clone();
            self.setup.metadata.push(latest);
        }
        let last = self.setup.metadata.len() - 1;
        change(&mut self.setup.metadata[last].campaigns)?;
        match at {
            [] => Ok(()),
            ["at", at] => {
                let at = time(at)?;
                self.push(vec![Entry::Metadata { source: "console".to_owned(), at }], at);
                Ok(())
            }
            _ => Err(format!("{at:?} says no time")),
        }
    }

    fn setting(&mut self, words: &Words<'_>) -> Result<(), String> {
        let strings = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        let catalog = &mut self.setup.catalog;
        match words.plain[..] {
            ["times"] => {
                let times = &mut self.setup.times;
                let seconds = |name, default: i64| {
                    Ok::<_, String>(words.number(name, default / MICROS_PER_SECOND)? * MICROS_PER_SECOND)
                };
                times.future = seconds("future", times.future)?;
                times.horizon = seconds("horizon", times.horizon)?;
                times.disorder = seconds("disorder", times.disorder)?;
                times.idle = seconds("idle", times.idle)?;
            }
            ["bucket_seconds", n] => catalog.bucket_seconds = n.parse().map_err(|_| format!("{n} is no number"))?,
            ["rollup", ref names @ ..] => catalog.rollups.push(strings(names)),
            ["required", ref names @ ..] => catalog.required = strings(names),
            ["type", name] => catalog.event_types.push(EventTypeSpec {
                id: words.number("id", 1000)?,
                name: name.to_owned(),
                plural: words.named("plural").unwrap_or_default().to_owned(),
                doc: String::new(),
            }),
            ["dimension", name] => {
                let source = match (words.named("attribute"), words.named("field")) {
                    (Some(key), _) => DimensionSource::Attribute(key.to_owned()),
                    (None, field) => DimensionSource::Field(field.unwrap_or(name).to_owned()),
                };
                let nulls = match words.named("nulls") {
                    None | Some("keep") => NullPolicy::Keep,
                    Some("reject") => NullPolicy::Reject,
                    Some(text) => NullPolicy::Replace(text.to_owned()),
                };
                let (id, limit) = (words.number("id", 1000)?, words.number("limit", 1000)?);
                let name = name.to_owned();
                catalog.dimensions.push(DimensionSpec { id, name, source, nulls, limit, doc: String::new() });
            }
            ["dedupe"] | ["dedupe", "off"] => catalog.dedupe.push(DedupeSpec {
                sources: words.list("sources"),
                event_types: words.list("types"),
                group: words.named("group").map(str::to_owned),
                key: words.list("key"),
                time_bucket_seconds: words.number("bucket", 0)?,
                content: words.named("content").map(|_| words.list("content")),
                since_micros: words.named("since").map_or(Ok(i64::MIN), time)?,
            }),
            ["currency", code] => self.setup.metadata[0].default_currency = code.to_owned(),
            ["unknown", "reject"] => self.setup.metadata[0].unknown = UnknownCampaign::Reject,
            _ => return Err(format!("{:?} is no setting", words.plain)),
        }
        Ok(())
    }
}
