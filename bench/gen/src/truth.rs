//! What a correct counter says about workload A: one row a minute, campaign, publisher, country and device.
//!
//! Events are taken in the order of their occurrence, so one minute is in memory at a time. Invariant: rows are sorted by
//! minute and then by the dimensions' text. Not here: parsing, duplicates (each event comes here once).

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::Context;

use crate::line::push_number;
use crate::time::Stamp;
use crate::world::{CAMPAIGNS, COUNTRIES, DEVICES, Event, Kind, PUBLISHERS};

const MINUTE_MS: i64 = 60_000;
/// The columns, as a report names them.
pub(crate) const HEADER: &str =
    "bucketStart,campaignId,publisherId,country,deviceType,impressions,clicks,conversions,spendMicros\n";

/// Counts and money of one cell, or of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Impressions.
    pub impressions: u64,
    /// Clicks.
    pub clicks: u64,
    /// Conversions.
    pub conversions: u64,
    /// The sum of the impressions' prices, in micros of US dollars.
    pub spend_micros: u64,
}

impl Sums {
    fn add(&mut self, kind: Kind, price_micros: u64) {
        match kind {
            Kind::Impression => {
                self.impressions += 1;
                self.spend_micros =
                    self.spend_micros.checked_add(price_micros).expect("prices are below 2^25: 2^39 of them fit");
            }
            Kind::Click => self.clicks += 1,
            Kind::Conversion => self.conversions += 1,
        }
    }
}

/// Texts in byte order, and at which place the text of each number stands.
struct Ranked {
    texts: Vec<String>,
    rank_of: Vec<u64>,
}

impl Ranked {
    fn new(texts: Vec<String>) -> Self {
        let mut order: Vec<usize> = (0..texts.len()).collect();
        order.sort_by(|a, b| texts[*a].cmp(&texts[*b]));
        let mut rank_of = vec![0; texts.len()];
        for (rank, number) in order.iter().enumerate() {
            rank_of[*number] = rank as u64;
        }
        Self { texts: order.into_iter().map(|number| texts[number].clone()).collect(), rank_of }
    }
}

/// The truth being written.
pub(crate) struct Truth {
    file: BufWriter<File>,
    minute_ms: i64,
    /// The minute's events, each with a key of its dimensions' ranks, so that the order of keys is that of the texts.
    /// Sorting them costs less than a table that misses the cache at each event.
    events: Vec<(u64, Kind, u64)>,
    campaigns: Ranked,
    publishers: Ranked,
    countries: Ranked,
    devices: Ranked,
    sums: Sums,
    rows: u64,
    text: Vec<u8>,
    stamp: Stamp,
}

impl Truth {
    /// Creates the file with its header.
    pub(crate) fn create(path: &Path) -> anyhow::Result<Self> {
        let file = File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
        let mut file = BufWriter::with_capacity(1 << 20, file);
        file.write_all(HEADER.as_bytes())?;
        let texts = |all: &[&str]| Ranked::new(all.iter().map(|text| (*text).to_owned()).collect());
        Ok(Self {
            file,
            minute_ms: i64::MIN,
            events: Vec::new(),
            campaigns: Ranked::new((1..=CAMPAIGNS).map(|c| format!("camp_{c}")).collect()),
            publishers: Ranked::new((1..=PUBLISHERS).map(|p| format!("pub_{p}")).collect()),
            countries: texts(&COUNTRIES),
            devices: texts(&DEVICES),
            sums: Sums::default(),
            rows: 0,
            text: Vec::new(),
            stamp: Stamp::default(),
        })
    }

    /// One event that counts; events come in the order of their occurrence.
    pub(crate) fn count(&mut self, event: &Event) -> anyhow::Result<()> {
        let minute_ms = event.occurred_at_ms - event.occurred_at_ms.rem_euclid(MINUTE_MS);
        if minute_ms != self.minute_ms {
            self.write_minute()?;
            self.minute_ms = minute_ms;
        }
        let shared = &event.shared;
        let key = self.campaigns.rank_of[shared.campaign as usize - 1] << 32
            | self.publishers.rank_of[shared.publisher as usize - 1] << 16
            | self.countries.rank_of[shared.country] << 8
            | self.devices.rank_of[shared.device];
        self.events.push((key, event.kind, event.price_micros));
        self.sums.add(event.kind, event.price_micros);
        Ok(())
    }

    fn write_minute(&mut self) -> anyhow::Result<()> {
        if self.events.is_empty() {
            return Ok(());
        }
        self.events.sort_unstable_by_key(|(key, _, _)| *key);
        let minute = self.stamp.seconds(self.minute_ms);
        for cell in self.events.chunk_by(|a, b| a.0 == b.0) {
            let key = cell[0].0;
            let mut sums = Sums::default();
            for (_, kind, price_micros) in cell {
                sums.add(*kind, *price_micros);
            }
            self.text.clear();
            self.text.extend_from_slice(&minute);
            let rank = |shift: u32, bits: u32| (key >> shift & ((1 << bits) - 1)) as usize;
            for text in [
                &self.campaigns.texts[rank(32, 32)],
                &self.publishers.texts[rank(16, 16)],
                &self.countries.texts[rank(8, 8)],
                &self.devices.texts[rank(0, 8)],
            ] {
                self.text.push(b',');
                self.text.extend_from_slice(text.as_bytes());
            }
            for value in [sums.impressions, sums.clicks, sums.conversions, sums.spend_micros] {
                self.text.push(b',');
                push_number(value, &mut self.text);
            }
            self.text.push(b'\n');
            self.file.write_all(&self.text)?;
            self.rows += 1;
        }
        self.events.clear();
        Ok(())
    }

    /// Writes the last minute; the sums over all rows, and how many rows there are.
    pub(crate) fn finish(mut self) -> anyhow::Result<(Sums, u64)> {
        self.write_minute()?;
        self.file.flush()?;
        Ok((self.sums, self.rows))
    }
}
