//! The one door to the decoder: a configuration and lines in, what became of each line out.
//!
//! Invariant: what comes out holds no symbols and no indices, so that it can be compared across catalogs.

use std::sync::Arc;

use adsum_model::campaigns::{CampaignSpec, CampaignVersion, Campaigns, UnknownCampaign};
use adsum_model::catalog::{
    BillableType, Catalog, CatalogError, CatalogSpec, DedupeSpec, DimensionSource, DimensionSpec, MappingSpec,
    NullPolicy, TimeFormat,
};
use adsum_model::hash::Secret;
use adsum_model::record::{RecordBatch, RecordHead, RecordKind, Stream};
use adsum_model::rows::{Control, EventRow, Projector, RowFlags, Rows};
use adsum_model::symbol::Symbol;
use adsum_model::time::{ReceivedAt, format_utc};
use adsum_model::wire::{Decoded, Decoder, Intake, record_json};

/// The secret of every test: the bytes 0 to 15.
pub const SECRET: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
/// The source where a case does not name one.
pub const SOURCE: &str = "ssp_7";
/// 2026-11-21T08:05:20Z in microseconds.
pub const RECEIVED: i64 = 1_795_248_320_000_000;

/// What an operator declares.
#[derive(Clone)]
pub struct Config {
    pub spec: CatalogSpec,
    pub campaigns: Vec<CampaignSpec>,
    pub unknown: UnknownCampaign,
    pub stream: Stream,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            spec: CatalogSpec::default(),
            campaigns: Vec::new(),
            unknown: UnknownCampaign::LetThrough,
            stream: Stream::Live,
        }
    }
}

impl Config {
    /// The default with a change.
    pub fn with(change: impl FnOnce(&mut Self)) -> Self {
        let mut config = Self::default();
        change(&mut config);
        config
    }

    /// Everything built anew; the catalog must be right.
    pub fn door(&self) -> Door {
        self.try_door().unwrap()
    }

    pub fn try_door(&self) -> Result<Door, CatalogError> {
        let catalog = Arc::new(Catalog::build(&self.spec)?);
        let campaigns = Arc::new(Campaigns::build(&self.campaigns, "USD", self.unknown, catalog.symbols()).unwrap());
        let decoder = Decoder::new(catalog.clone(), campaigns.clone(), Secret::new(SECRET));
        Ok(Door { catalog, campaigns, decoder, stream: self.stream })
    }

    /// What the lines of a text become, under a door of their own.
    pub fn lines(&self, text: impl AsRef<[u8]>) -> Vec<String> {
        let mut door = self.door();
        let decoded = door.decode(SOURCE, text);
        door.outcomes(&decoded)
    }

    /// What one line becomes: alone, behind itself, and between others that the decoder learns from.
    pub fn line(&self, line: impl AsRef<[u8]>) -> String {
        let line = line.as_ref();
        let outcomes = self.lines(line);
        assert_eq!(outcomes.len(), 1, "{outcomes:?}");
        let good = self::line(&[]).into_bytes();
        for first in [line, &good] {
            let among = self.lines([first, line, &good, line, &good, &good].join(&b"\n"[..]));
            assert_eq!((among.len(), &among[1], &among[3]), (6, &outcomes[0], &outcomes[0]));
        }
        outcomes.into_iter().next().unwrap()
    }

    /// The facts of the one event that a line is.
    pub fn event(&self, source: &str, line: &str) -> Facts {
        let mut door = self.door();
        let decoded = door.decode(source, line);
        let facts = door.facts(&decoded.rows);
        assert_eq!(facts.len(), 1, "{line}: {:?}", door.outcomes(&decoded));
        facts.into_iter().next().unwrap()
    }
}

/// A decoder and what it was built from.
pub struct Door {
    pub catalog: Arc<Catalog>,
    pub campaigns: Arc<Campaigns>,
    pub decoder: Decoder,
    pub stream: Stream,
}

/// What a row says, in words.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    pub key: u128,
    pub content: u64,
    pub event_type: String,
    pub occurred_at: String,
    pub received_at: i64,
    pub price_micros: u64,
    pub value_micros: u64,
    pub user: u64,
    pub target: u64,
    pub ordinal: u32,
    pub source: Option<String>,
    pub terms: String,
    pub flags: Vec<&'static str>,
    /// Name and value of the dimensions that have one.
    pub dimensions: Vec<(String, String)>,
}

impl std::fmt::Display for Facts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "event {} {} {}", self.event_type, self.occurred_at, self.terms)?;
        for (name, value) in &self.dimensions {
            write!(f, " {name}={value}")?;
        }
        if self.flags.contains(&"priced") {
            write!(f, " price={}", self.price_micros)?;
        }
        if self.value_micros != 0 {
            write!(f, " value={}", self.value_micros)?;
        }
        for flag in self.flags.iter().filter(|flag| **flag != "priced") {
            write!(f, " {flag}")?;
        }
        Ok(())
    }
}

const FLAGS: [(RowFlags, &str); 6] = [
    (RowFlags::PRICED, "priced"),
    (RowFlags::FOREIGN, "foreign"),
    (RowFlags::IMPORT, "import"),
    (RowFlags::NO_DEDUPE, "no_dedupe"),
    (RowFlags::REPLAY, "replay"),
    (RowFlags::OUT_OF_FLIGHT, "out_of_flight"),
];

impl Door {
    pub fn decode(&mut self, source: &str, text: impl AsRef<[u8]>) -> Decoded {
        let intake = Intake {
            source: self.catalog.symbols().intern(source.as_bytes()),
            stream: self.stream,
            received_at: ReceivedAt::from_micros(RECEIVED),
        };
        let mut decoded = Decoded::default();
        self.decoder.decode_lines(text.as_ref().to_vec(), &intake, &mut decoded);
        decoded
    }

    pub fn text(&self, symbol: Symbol) -> Option<String> {
        self.catalog.symbols().text(symbol)
    }

    fn row(&self, row: &EventRow, dimensions: &[Symbol]) -> Facts {
        let currency = self.text(row.currency).unwrap_or_default();
        Facts {
            key: row.key.get(),
            content: row.content.get(),
            event_type: self.catalog.event_type(row.event_type).name.clone(),
            occurred_at: format_utc(row.occurred_at.micros()),
            received_at: row.received_at.micros(),
            price_micros: row.price_micros,
            value_micros: row.value_micros,
            user: row.user,
            target: row.target.get(),
            ordinal: row.ordinal,
            source: self.text(row.source),
            terms: format!("{} {currency}", row.billable.name()),
            flags: FLAGS.iter().filter(|(flag, _)| row.flags.has(*flag)).map(|(_, name)| *name).collect(),
            dimensions: (self.catalog.dimensions().iter().zip(dimensions))
                .filter_map(|(d, value)| Some((d.name.clone(), self.text(*value)?)))
                .collect(),
        }
    }

    pub fn facts(&self, rows: &Rows) -> Vec<Facts> {
        let width = self.catalog.dimensions().len();
        assert_eq!(rows.dimensions.len(), rows.events.len() * width);
        rows.events.iter().zip(rows.dimensions.chunks(width)).map(|(row, dims)| self.row(row, dims)).collect()
    }

    /// Every row of a batch projected anew, as after a crash.
    pub fn project(&self, batch: &RecordBatch) -> (Vec<Facts>, Vec<(u32, Control)>, u32) {
        let mut rows = Rows::default();
        Projector::new(self.catalog.clone(), Secret::new(SECRET)).project_batch(batch, &mut rows);
        (self.facts(&rows), rows.controls, rows.records)
    }

    fn internal(&self, batch: &RecordBatch, head: &RecordHead, name: &str) -> Vec<u8> {
        let field = self.catalog.field_named(name).unwrap();
        let Some(span) = batch.field(head, field) else { return Vec::new() };
        match span.form {
            adsum_model::record::Form::Symbol => self.text(span.as_symbol()).unwrap_or_default().into_bytes(),
            _ => batch.arena[span.range()].to_vec(),
        }
    }

    /// The bytes that a reject keeps.
    pub fn raw(&self, batch: &RecordBatch, head: &RecordHead) -> Vec<u8> {
        self.internal(batch, head, "$raw")
    }

    /// What became of each line, in order: `event ...` or `reject code param`.
    pub fn outcomes(&self, decoded: &Decoded) -> Vec<String> {
        let facts = self.facts(&decoded.rows);
        let batch = &decoded.batch;
        let words = |head, name| String::from_utf8(self.internal(batch, head, name)).unwrap();
        batch
            .heads
            .iter()
            .enumerate()
            .map(|(i, head)| match head.kind {
                RecordKind::Event => facts.iter().find(|f| f.ordinal as usize == i).unwrap().to_string(),
                RecordKind::Reject => {
                    assert!(decoded.rows.controls.iter().any(|(ordinal, _)| *ordinal as usize == i));
                    format!("reject {} {}", words(head, "$code"), words(head, "$param")).trim_end().to_owned()
                }
                other => panic!("a line became {other:?}"),
            })
            .collect()
    }

    /// Each event as the sender's JSON again.
    pub fn json(&self, batch: &RecordBatch) -> Vec<String> {
        let events = batch.heads.iter().filter(|h| h.kind == RecordKind::Event);
        events.map(|h| String::from_utf8(record_json(batch, h, &self.catalog)).unwrap()).collect()
    }
}

/// The members of an event that is right; name and value as JSON.
pub const GOOD: [(&str, &str); 4] = [
    ("eventId", r#""evt_1""#),
    ("eventType", r#""click""#),
    ("occurredAt", r#""2026-11-21T08:05:16Z""#),
    ("campaignId", r#""camp_1""#),
];

/// The good event with members replaced or added; an empty value takes the member away.
pub fn line(changes: &[(&str, &str)]) -> String {
    let mut members: Vec<(&str, &str)> = GOOD.to_vec();
    for change in changes {
        match members.iter_mut().find(|(name, _)| *name == change.0) {
            Some(member) => *member = *change,
            None => members.push(*change),
        }
    }
    let members: Vec<String> =
        members.iter().filter(|(_, v)| !v.is_empty()).map(|(name, value)| format!("\"{name}\":{value}")).collect();
    format!("{{{}}}", members.join(","))
}

pub fn names(list: &[&str]) -> Vec<String> {
    list.iter().map(|s| (*s).to_owned()).collect()
}

pub fn campaign(id: &str, billable: BillableType, currency: &str, ads: &[&str]) -> CampaignSpec {
    let versions = vec![CampaignVersion::always(billable)];
    CampaignSpec { id: id.to_owned(), currency: currency.to_owned(), versions, ads: names(ads) }
}

/// A user's dimension; `attributes.x` takes it from there.
pub fn dimension(id: u16, name: &str, from: &str, nulls: NullPolicy) -> DimensionSpec {
    let source = match from.strip_prefix("attributes.") {
        Some(key) => DimensionSource::Attribute(key.to_owned()),
        None => DimensionSource::Field(from.to_owned()),
    };
    DimensionSpec { id, name: name.to_owned(), source, nulls, limit: 100, doc: String::new() }
}

pub fn mapped(from: &str, to: &str, values: &[(&str, &str)], time: TimeFormat) -> MappingSpec {
    let values = values.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
    MappingSpec { from: from.to_owned(), to: to.to_owned(), values, time }
}

/// A dedupe rule for every source and type, from always.
pub fn rule(key: &[&str], content: Option<&[&str]>) -> DedupeSpec {
    DedupeSpec { key: names(key), content: content.map(names), since_micros: i64::MIN, ..DedupeSpec::default() }
}
