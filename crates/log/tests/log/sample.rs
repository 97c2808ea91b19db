//! Records as plain values, so that tests compare what a record says and not how a batch holds it.
//!
//! Invariant: `Record::read` after `Record::write` is the same record.

use std::path::Path;
use std::sync::Arc;

use adsum_disk::{Disk, FaultyDisk};
use adsum_log::{EmbeddedLog, EventLog, Frame, FrameDraft, LogError, LogOptions, LogView, OpenReport};
use adsum_model::catalog::{BillableType, Catalog, CatalogSpec};
use adsum_model::id::{FrameSeq, MetadataRevision, Offset, Position};
use adsum_model::record::{Form, RecordBatch, RecordHead, RecordKind, Span, Stamp, Stream};
use adsum_model::symbol::Symbol;
use adsum_model::time::ReceivedAt;
use serde_json::{Value as Json, json};

/// 2026-11-21T00:00:00Z in microseconds.
pub const NOW: i64 = 1_795_219_200_000_000;

/// Where the logs of these tests lie.
pub const DIR: &str = "data/log";

#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Text(String),
    Uuid([u8; 16]),
    Symbol(String),
    Uint(u64),
    Int(i64),
    Time(i64),
    Json(String),
    Bytes(Vec<u8>),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    pub kind: RecordKind,
    pub source: Option<String>,
    pub received_at: i64,
    pub stream: Stream,
    pub billable: Option<BillableType>,
    pub currency: Option<String>,
    pub campaign: Option<String>,
    pub folded: Vec<String>,
    /// In byte order of the names.
    pub fields: Vec<(String, Value)>,
}

pub fn catalog() -> Arc<Catalog> {
    Arc::new(Catalog::build(&CatalogSpec::default()).unwrap())
}

pub fn now(micros: i64) -> ReceivedAt {
    ReceivedAt::from_micros(NOW + micros)
}

/// splitmix64.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub fn uuid(&mut self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.next().to_le_bytes());
        bytes[8..].copy_from_slice(&self.next().to_le_bytes());
        bytes
    }
}

impl Record {
    /// An event as workload A has them, or now and then a tick, a rejected line or an odd one.
    pub fn sample(random: &mut Random) -> Self {
        let received_at = NOW + random.below(1 << 20) as i64;
        let source = Some(["edge", "import"][random.below(2) as usize].to_owned());
        let plain = Self {
            kind: RecordKind::Tick,
            source: None,
            received_at,
            stream: Stream::Live,
            billable: None,
            currency: None,
            campaign: None,
            folded: Vec::new(),
            fields: Vec::new(),
        };
        match random.below(12) {
            0 => plain,
            1 => Self {
                kind: RecordKind::Reject,
                source,
                fields: vec![
                    ("$code".to_owned(), Value::Symbol("price".to_owned())),
                    ("$param".to_owned(), Value::Text("priceMicros".to_owned())),
                    ("$raw".to_owned(), Value::Bytes(random.uuid()[..random.below(17) as usize].to_vec())),
                ],
                ..plain
            },
            2 => Self {
                kind: RecordKind::Replay,
                source,
                fields: vec![
                    ("$extra".to_owned(), Value::Json(format!("{{\"x\":{}}}", random.below(9)))),
                    ("$target".to_owned(), Value::Uint(random.next())),
                    ("position".to_owned(), Value::Int(-1 - (random.next() >> 1) as i64)),
                ],
                campaign: Some(format!("camp_{}", random.below(40))),
                ..plain
            },
            kind => {
                let symbol = |name: &str, value: String| (name.to_owned(), Value::Symbol(value));
                let uuid = |name: &str, bytes| (name.to_owned(), Value::Uuid(bytes));
                let micros = if kind == 3 { 7 } else { 0 };
                Self {
                    kind: RecordKind::Event,
                    source,
                    billable: Some(BillableType::Cpm),
                    currency: Some("USD".to_owned()),
                    folded: if kind == 4 { vec!["country".to_owned()] } else { Vec::new() },
                    fields: vec![
                        symbol("adId", format!("ad_{}", random.below(400))),
                        uuid("auctionId", random.uuid()),
                        symbol("campaignId", format!("camp_{}", random.below(40))),
                        symbol("country", ["US", "DE", "\u{1F1EB}\u{1F1F7}"][random.below(3) as usize].to_owned()),
                        symbol("deviceType", "mobile".to_owned()),
                        uuid("eventId", random.uuid()),
                        symbol("eventType", "impression".to_owned()),
                        uuid("impressionId", random.uuid()),
                        ("occurredAt".to_owned(), Value::Time(NOW + random.below(90_000) as i64 * 1000 + micros)),
                        symbol("placementId", format!("plc_{}", random.below(9))),
                        ("priceMicros".to_owned(), Value::Uint(random.below(5000))),
                        symbol("publisherId", format!("pub_{}", random.below(24))),
                        ("schemaVersion".to_owned(), Value::Uint(1)),
                        ("userId".to_owned(), Value::Text(format!("u_{}", random.below(2_000_000)))),
                    ],
                    ..plain
                }
            }
        }
    }

    pub fn samples(random: &mut Random, count: usize) -> Vec<Self> {
        (0..count).map(|_| Self::sample(random)).collect()
    }

    /// Adds it to a batch.
    pub fn write(&self, catalog: &Catalog, batch: &mut RecordBatch) {
        let symbol = |text: &Option<String>| {
            text.as_ref().map_or(Symbol::NULL, |text| catalog.symbols().intern(text.as_bytes()))
        };
        let folded = self.folded.iter().map(|d| 1 << catalog.dimension_named(d).unwrap().index()).sum();
        let stamp = Stamp {
            stream: self.stream,
            billable: self.billable,
            currency: symbol(&self.currency),
            campaign: symbol(&self.campaign),
            folded,
        };
        batch.begin(self.kind, symbol(&self.source), ReceivedAt::from_micros(self.received_at), stamp);
        for (name, value) in &self.fields {
            let field = catalog.field_named(name).unwrap();
            match value {
                Value::Text(text) => batch.push_bytes(field, Form::Text, text.as_bytes()),
                Value::Json(text) => batch.push_bytes(field, Form::Json, text.as_bytes()),
                Value::Bytes(bytes) => batch.push_bytes(field, Form::Bytes, bytes),
                Value::Symbol(text) => batch.push(Span::symbol(field, catalog.symbols().intern(text.as_bytes()))),
                Value::Uint(value) => batch.push(Span::wide(field, Form::Uint, *value)),
                Value::Int(value) => batch.push(Span::wide(field, Form::Int, *value as u64)),
                Value::Time(value) => batch.push(Span::wide(field, Form::Time, *value as u64)),
                Value::Uuid(bytes) => {
                    let start = batch.uuids.len() as u32;
                    batch.uuids.push(*bytes);
                    // A decoder's hint, which the log must not take for anything.
                    batch.push(Span { field, form: Form::Uuid, start, len: 77 });
                }
            }
        }
    }

    /// Takes it from a batch.
    pub fn read(catalog: &Catalog, batch: &RecordBatch, head: &RecordHead) -> Self {
        let text = |symbol| catalog.symbols().text(symbol);
        let utf8 = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let fields = batch.fields(head);
        assert!(fields.is_sorted_by(|a, b| a.field < b.field), "fields ascend");
        let value = |span: &Span| match span.form {
            Form::Text => Value::Text(utf8(&batch.arena[span.range()])),
            Form::Json => Value::Json(utf8(&batch.arena[span.range()])),
            Form::Bytes => Value::Bytes(batch.arena[span.range()].to_vec()),
            Form::Symbol => Value::Symbol(text(span.as_symbol()).unwrap()),
            Form::Uint => Value::Uint(span.as_wide()),
            Form::Int => Value::Int(span.as_wide() as i64),
            Form::Time => Value::Time(span.as_wide() as i64),
            Form::Uuid => Value::Uuid(batch.uuids[span.start as usize]),
        };
        let dimensions = catalog.dimensions().iter().enumerate();
        Self {
            kind: head.kind,
            source: text(head.source),
            received_at: head.received_at.micros(),
            stream: head.stamp.stream,
            billable: head.stamp.billable,
            currency: text(head.stamp.currency),
            campaign: text(head.stamp.campaign),
            folded: dimensions.filter(|(i, _)| head.stamp.folded >> i & 1 == 1).map(|(_, d)| d.name.clone()).collect(),
            fields: fields.iter().map(|s| (catalog.field(s.field).name.clone(), value(s))).collect(),
        }
    }

    /// As the reader in another language prints it.
    pub fn to_json(&self, seq: FrameSeq, offset: Offset) -> Json {
        let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        let fields = self.fields.iter().map(|(name, value)| {
            let value = match value {
                Value::Text(text) => json!({ "text": text }),
                Value::Uuid(bytes) => json!({ "uuid": hex(bytes) }),
                Value::Symbol(text) => json!({ "symbol": text }),
                Value::Uint(value) => json!({ "uint": value }),
                Value::Int(value) => json!({ "int": value }),
                Value::Time(micros) => json!({ "time": micros }),
                Value::Json(text) => json!({ "json": text }),
                Value::Bytes(bytes) => json!({ "bytes": hex(bytes) }),
            };
            (name.clone(), value)
        });
        json!({
            "seq": seq.get(),
            "offset": offset.get(),
            "kind": self.kind as u8,
            "source": self.source,
            "receivedAt": self.received_at,
            "stream": self.stream as u8,
            "billable": self.billable.map(|b| b as u8),
            "currency": self.currency,
            "campaign": self.campaign,
            "folded": self.folded,
            "fields": fields.collect::<serde_json::Map<_, _>>(),
        })
    }
}

pub fn batch_of(catalog: &Catalog, records: &[Record]) -> RecordBatch {
    let mut batch = RecordBatch::default();
    for record in records {
        record.write(catalog, &mut batch);
    }
    batch
}

pub fn records_of(catalog: &Catalog, frame: &Frame) -> Vec<Record> {
    frame.records.heads.iter().map(|head| Record::read(catalog, &frame.records, head)).collect()
}

/// Appends one frame; its seq is what the log says.
pub fn append(
    log: &mut dyn EventLog,
    catalog: &Catalog,
    at: i64,
    records: &[Record],
) -> Result<adsum_log::Appended, LogError> {
    let batch = batch_of(catalog, records);
    log.append(&FrameDraft {
        appended_at: now(at),
        metadata_revision: MetadataRevision::new(at as u64),
        batches: &[&batch],
    })
}

/// Every frame from `from` on, with its records.
pub fn read_all(
    log: &dyn LogView,
    catalog: &Catalog,
    from: FrameSeq,
) -> Result<Vec<(FrameSeq, Offset, Vec<Record>)>, LogError> {
    let mut reader = log.read(from)?;
    let mut frame = Frame::default();
    let mut frames = Vec::new();
    while reader.next(&mut frame)? {
        frames.push((frame.seq, frame.base, records_of(catalog, &frame)));
    }
    Ok(frames)
}

/// Small segments, so that a few frames fill several.
pub const SMALL: LogOptions = LogOptions { segment_bytes: 2000, frame_bytes_max: 1 << 20, verify_bytes: 1 << 30 };

pub fn open(
    disk: &FaultyDisk,
    catalog: &Arc<Catalog>,
    options: LogOptions,
    store: Option<Position>,
) -> Result<(EmbeddedLog, OpenReport), LogError> {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    EmbeddedLog::open(disk, Path::new(DIR), catalog.clone(), options, store)
}
