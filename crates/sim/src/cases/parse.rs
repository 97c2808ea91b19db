//! Reads a case.
//!
//! A case is lines: `#` says what it shows; then settings; then what happens, each with its NDJSON lines behind it; then
//! `expect`, and what must come of it. Invariant: a line that means nothing is an error that names it.
//!
//! Settings: `times future=300 horizon=3600 disorder=60 idle=120` (seconds), `bucket_seconds 10`, `rollup campaignId
//! country`, `required eventType occurredAt`, `type view id=1000 plural=views`, `dimension section id=1000 field=section
//! limit=2 nulls=reject`, `dedupe sources=web types=click group=g key=eventId bucket=10 content=adId since=<time>`,
//! `dedupe off sources=app`, `currency USD`, `unknown reject`, `campaign c1 cpc USD ads=a1,a2`.
//! What happens: `live <source> at <time>`, `also live <source> at <time>` (in the same frame), `import <source> at
//! <time>` (a whole run), `tick <time>`, `replay <offset>... at <time>`, `campaign ...` (it changes), `restart`.

use adsum_model::campaigns::{CampaignSpec, UnknownCampaign};
use adsum_model::catalog::{
    BillableType, CatalogSpec, DedupeSpec, DimensionSource, DimensionSpec, EventTypeSpec, NullPolicy,
};
use adsum_model::time::{MICROS_PER_SECOND, parse_rfc3339};

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
                self.appended_at = self.appended_at.max(time(at)?);
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
            ["campaign", id, billable, currency] => {
                self.end_frame();
                self.campaign(id, billable, currency, words.list("ads"))
            }
            _ if self.actions.is_empty() && self.intake.is_none() => self.setting(&words),
            _ => Err(format!("{line:?} is nothing that happens")),
        }
    }

    /// A campaign, or what it changes to: then frames that follow are resolved under a new state of the metadata.
    fn campaign(&mut self, id: &str, billable: &str, currency: &str, ads: Vec<String>) -> Result<(), String> {
        let billable = BillableType::from_name(billable).ok_or_else(|| format!("{billable} is no billable type"))?;
        let spec = CampaignSpec { id: id.to_owned(), billable, currency: currency.to_owned(), ads };
        if !self.actions.is_empty() {
            let latest = self.setup.metadata[self.setup.metadata.len() - 1].clone();
            self.setup.metadata.push(latest);
        }
        let last = self.setup.metadata.len() - 1;
        let campaigns = &mut self.setup.metadata[last].campaigns;
        campaigns.retain(|c| c.id != id);
        campaigns.push(spec);
        Ok(())
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
