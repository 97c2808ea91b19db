//! What makes two events the same: the dedupe key, and the content that tells a duplicate from a conflict.
//!
//! **Dedupe key**: SipHash-1-3 with 128 bits of output under the secret of the data directory, over the rule's scope
//! (8 bytes, little endian) and for each part a letter (as below) and its value: text and canonical JSON as their
//! length (4 bytes, little endian) and bytes, anything else as 8 bytes, little endian. The first half of the output is
//! the low half of the key. The scope is SipHash-1-3 with 64 bits under the same secret over `s` or `g`, the source's
//! or group's name, and a zero byte and the name of each part. A time bucket of n seconds is a last part: its name
//! `occurredAt/n`, its letter `I`, its value the bucket's number since 1970, rounded down.
//!
//! **Content hash v1**: XXH3-64 of two little-endian words a content field, in byte order of the fields' names:
//! XXH3-64 of the name and a letter, and the value's word. Letters and words: `T` text, XXH3-64 of its UTF-8 bytes;
//! `P` an integer >= 0, itself; `M` a negative integer in two's complement; `I` a moment in microseconds; `J` other
//! JSON, XXH3-64 of its canonical text (no white space, keys in byte order, numbers as written, and in strings only
//! the quote, the backslash and the characters below U+0020 escaped, the latter as `\u00xx` in lower case). `consent`,
//! `propensity` and `attributes` are always `J`. A field that the catalog does not know enters the same way, so that
//! making it a dimension changes no hash.
//! Invariant: both are computable from the stored record, and never from a dictionary's ids.

use std::hash::Hasher;

use siphasher::sip::SipHasher13;
use siphasher::sip128::SipHasher13 as SipHasher13_128;
use xxhash_rust::xxh3::xxh3_64;

use crate::catalog::{CatalogError, DedupeSpec, EventTypeDef, EventTypeIx, FieldDef, FieldIx};
use crate::id::{ContentHash, DedupeKey};
use crate::time::EventTime;

/// The secret of a data directory: 16 random bytes, made once, never rotated.
#[derive(Clone, Copy)]
pub struct Secret([u8; 16]);

impl Secret {
    /// Wraps the bytes.
    pub fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes, to derive other keys from. They are never shown.
    pub fn bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// A value as hashes see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashValue<'a> {
    /// Text.
    Text(&'a [u8]),
    /// An integer from 0.
    Uint(u64),
    /// A negative integer.
    Int(i64),
    /// A moment.
    Time(i64),
    /// Canonical JSON.
    Json(&'a [u8]),
}

impl HashValue<'_> {
    /// The letter of its form.
    pub fn letter(&self) -> u8 {
        match self {
            Self::Text(_) => b'T',
            Self::Uint(_) => b'P',
            Self::Int(_) => b'M',
            Self::Time(_) => b'I',
            Self::Json(_) => b'J',
        }
    }

    /// Its word in a content hash.
    pub fn word(&self) -> u64 {
        match self {
            Self::Text(bytes) | Self::Json(bytes) => xxh3_64(bytes),
            Self::Uint(value) => *value,
            Self::Int(value) | Self::Time(value) => *value as u64,
        }
    }
}

/// The first word of a field in a content hash.
pub fn name_word(name: &str, letter: u8) -> u64 {
    let mut bytes = Vec::with_capacity(name.len() + 1);
    bytes.extend_from_slice(name.as_bytes());
    bytes.push(letter);
    xxh3_64(&bytes)
}

/// Collects a content hash; fields come in byte order of their names.
#[derive(Default)]
pub struct ContentHasher {
    /// The words so far, and room behind them.
    words: Vec<u8>,
    len: usize,
}

impl ContentHasher {
    /// Begins anew.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// Adds a field.
    #[inline(always)]
    pub fn add(&mut self, name_word: u64, value_word: u64) {
        if self.words.len() < self.len + 16 {
            self.grow();
        }
        let place = &mut self.words[self.len..self.len + 16];
        place[..8].copy_from_slice(&name_word.to_le_bytes());
        place[8..].copy_from_slice(&value_word.to_le_bytes());
        self.len += 16;
    }

    #[cold]
    fn grow(&mut self) {
        self.words.resize((self.len + 16) * 2, 0);
    }

    /// The hash of what was added.
    pub fn finish(&self) -> ContentHash {
        ContentHash::new(xxh3_64(&self.words[..self.len]))
    }
}

/// Builds the bytes of one dedupe key.
pub struct KeyHasher {
    secret: Secret,
    /// Under the secret, with nothing written.
    hasher: SipHasher13_128,
    bytes: Vec<u8>,
}

impl KeyHasher {
    /// Under a data directory's secret.
    pub fn new(secret: Secret) -> Self {
        Self { secret, hasher: SipHasher13_128::new_with_key(&secret.0), bytes: Vec::with_capacity(128) }
    }

    /// The scope of a rule for a source: the same for sources of one group and rules with the same parts.
    pub fn scope(&self, rule: &DedupeRule, source: &str) -> u64 {
        let mut hasher = SipHasher13::new_with_key(&self.secret.0);
        match &rule.group {
            Some(group) => {
                hasher.write(b"g");
                hasher.write(group.as_bytes());
            }
            None => {
                hasher.write(b"s");
                hasher.write(source.as_bytes());
            }
        }
        for name in &rule.part_names {
            hasher.write(b"\0");
            hasher.write(name.as_bytes());
        }
        hasher.finish()
    }

    /// Begins a key within a scope.
    pub fn begin(&mut self, scope: u64) {
        self.bytes.clear();
        self.bytes.extend_from_slice(&scope.to_le_bytes());
    }

    /// Adds a part.
    pub fn part(&mut self, value: HashValue<'_>) {
        self.bytes.push(value.letter());
        match value {
            HashValue::Text(bytes) | HashValue::Json(bytes) => {
                self.bytes.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
                self.bytes.extend_from_slice(bytes);
            }
            _ => self.bytes.extend_from_slice(&value.word().to_le_bytes()),
        }
    }

    /// The key of what was added.
    pub fn finish(&self) -> DedupeKey {
        DedupeKey::new(self.hasher.hash(&self.bytes).as_u128())
    }
}

/// A rule that says which events of a source and type are the same.
#[derive(Clone, Debug)]
pub struct DedupeRule {
    sources: Vec<String>,
    event_types: Vec<EventTypeIx>,
    group: Option<String>,
    part_names: Vec<String>,
    /// The fields of the key; none: dedupe is off.
    pub key: Vec<FieldIx>,
    /// If over 0, the key also has occurredAt in buckets of so many seconds.
    pub time_bucket_seconds: i64,
    /// The fields that are the content beside eventType; none: every content field.
    pub content: Option<Vec<FieldIx>>,
    /// From which occurredAt on it holds.
    pub since: EventTime,
}

impl DedupeRule {
    /// Whether sources share its keys.
    pub fn is_shared(&self) -> bool {
        self.group.is_some()
    }
}

/// The dedupe rules of a catalog.
#[derive(Clone, Debug)]
pub struct DedupeRules {
    /// Latest `since` first; the default rule last.
    rules: Vec<DedupeRule>,
}

impl DedupeRules {
    pub(crate) fn build(
        specs: &[DedupeSpec],
        by_name: &hashbrown::HashMap<String, FieldIx>,
        fields: &[FieldDef],
        event_types: &[EventTypeDef],
    ) -> Result<Self, CatalogError> {
        fn fail<T>(param: String, message: String) -> Result<T, CatalogError> {
            Err(CatalogError { param, message })
        }
        let mut rules = Vec::new();
        for (i, spec) in specs.iter().enumerate() {
            let resolve = |what: &str, names: &[String]| -> Result<Vec<FieldIx>, CatalogError> {
                names
                    .iter()
                    .map(|n| match by_name.get(n) {
                        Some(f) if fields[f.index()].content && !n.starts_with('$') => Ok(*f),
                        _ => fail(format!("dedupe.{i}.{what}"), format!("{n} is no content field of the catalog")),
                    })
                    .collect()
            };
            let key = resolve("key", &spec.key)?;
            if key.is_empty() && spec.group.is_some() {
                return fail(
                    format!("dedupe.{i}.group"),
                    "dedupe is off (no key), so there is nothing to share".into(),
                );
            }
            let mut types = Vec::new();
            for name in &spec.event_types {
                let Some(ix) = event_types.iter().position(|t| t.name == *name) else {
                    return fail(format!("dedupe.{i}.event_types"), format!("{name} is no event type"));
                };
                types.push(EventTypeIx::new(ix));
            }
            let own_key = spec.key.as_slice() == ["eventId"] && spec.time_bucket_seconds == 0 && spec.group.is_none();
            let content = match &spec.content {
                Some(names) => Some(resolve("content", names)?),
                None if spec.group.is_some() => Some(resolve("content", &["campaignId".into(), "adId".into()])?),
                None if own_key || key.is_empty() => None,
                None => {
                    return fail(format!("dedupe.{i}.content"), "a key other than eventId declares its content".into());
                }
            };
            if spec.group.is_some()
                && specs[..i].iter().any(|o| {
                    o.group == spec.group
                        && o.event_types == spec.event_types
                        && o.since_micros == spec.since_micros
                        && (&o.key, o.time_bucket_seconds, &o.content)
                            != (&spec.key, spec.time_bucket_seconds, &spec.content)
                })
            {
                return fail(format!("dedupe.{i}.group"), "the rules of one group are equal".into());
            }
            let mut part_names = spec.key.clone();
            if spec.time_bucket_seconds > 0 {
                part_names.push(format!("occurredAt/{}", spec.time_bucket_seconds));
            }
            rules.push(DedupeRule {
                sources: spec.sources.clone(),
                event_types: types,
                group: spec.group.clone(),
                part_names,
                key,
                time_bucket_seconds: i64::from(spec.time_bucket_seconds),
                content,
                since: EventTime::from_micros(spec.since_micros),
            });
        }
        rules.sort_by_key(|r| std::cmp::Reverse(r.since));
        rules.push(DedupeRule {
            sources: Vec::new(),
            event_types: Vec::new(),
            group: None,
            part_names: vec!["eventId".to_owned()],
            key: vec![*by_name.get("eventId").expect("eventId stands in the table of fields")],
            time_bucket_seconds: 0,
            content: None,
            since: EventTime::from_micros(i64::MIN),
        });
        Ok(Self { rules })
    }

    /// The rule for an event.
    pub fn rule<'a>(&'a self, source: &'a str, event_type: EventTypeIx, at: EventTime) -> &'a DedupeRule {
        self.for_source(source, event_type)
            .find(|r| r.since <= at)
            .expect("the default rule holds for every source, type and time")
    }

    /// The rules that may hold for a source and a type, latest first; the last holds always.
    pub fn for_source<'a>(
        &'a self,
        source: &'a str,
        event_type: EventTypeIx,
    ) -> impl Iterator<Item = &'a DedupeRule> + 'a {
        self.rules.iter().filter(move |r| {
            (r.sources.is_empty() || r.sources.iter().any(|s| s == source))
                && (r.event_types.is_empty() || r.event_types.contains(&event_type))
        })
    }
}
