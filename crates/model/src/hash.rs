//! What makes two events the same: the dedupe key, and the content that tells a duplicate from a conflict.
//!
//! **Dedupe key**: SipHash-1-3 with 128 bits of output under the secret of the data directory, over the rule's scope
//! (8 bytes, little endian) and for each part its value and behind it a letter: `U` behind the 16 bytes of a canonical
//! lower-case UUID; `T` behind other text and `J` behind canonical JSON, which are their bytes and then their length (4
//! bytes, little endian); `P`, `M` and `I` (as below) behind 8 bytes, little endian. The first half of the output is the
//! low half of the key. The scope is SipHash-1-3 with 64 bits under the same secret over `s` or `g`, the source's or
//! group's name, and a zero byte and the name of each part. A time bucket of n seconds is a last part: its name
//! `occurredAt/n`, its letter `I`, its value the bucket's number since 1970, rounded down.
//!
//! **Content hash v1**: XXH3-64 of the sum, modulo 2^64 (8 bytes, little endian), of a term for each content field: the
//! word of its value xor XXH3-64 of its name and a letter, times XXH3-64 of its name with the lowest bit set; of the
//! product's 128 bits both halves xored. Letters and words: `T` text, of a canonical lower-case UUID XXH3-64 with the
//! seed 1 of its 16 bytes, of other text XXH3-64 of its UTF-8 bytes; `P` an integer >= 0, itself; `M` a negative integer
//! in two's complement; `I` a moment in microseconds; `J` other JSON, XXH3-64 of the one term (8 bytes, little endian)
//! that it makes under an empty name: there `T` is as above, `O` an object, XXH3-64 of the sum of its members' terms, `A`
//! an array, in the same way of its elements, each under its place from 0 on in decimal, and `J` anything else, XXH3-64
//! of it as written. `consent`, `propensity` and `attributes` are always `J`. A field that the catalog does not know
//! enters the same way, so that making it a dimension changes no hash.
//! Invariant: both are computable from the stored record, and never from a dictionary's ids.

use std::hash::Hasher;

use siphasher::sip::SipHasher13;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::catalog::{CatalogError, DedupeSpec, EventTypeDef, EventTypeIx, FieldDef, FieldIx};
use crate::id::{ContentHash, DedupeKey};
use crate::time::EventTime;
use crate::wire::parse_uuid;

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

/// A value as part of a dedupe key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyPart<'a> {
    /// Text, a UUID's too.
    Text(&'a [u8]),
    /// A canonical UUID.
    Uuid(&'a [u8; 16]),
    /// An integer from 0.
    Uint(u64),
    /// A negative integer.
    Int(i64),
    /// A moment.
    Time(i64),
    /// Canonical JSON.
    Json(&'a [u8]),
}

/// The forms of values that content hashes tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Letter {
    /// `T`
    Text,
    /// `P`
    Uint,
    /// `M`
    Int,
    /// `I`
    Time,
    /// `J`
    Json,
    /// `O`
    Object,
    /// `A`
    Array,
}

impl Letter {
    const ALL: [Self; 7] = [Self::Text, Self::Uint, Self::Int, Self::Time, Self::Json, Self::Object, Self::Array];

    fn byte(self) -> u8 {
        b"TPMIJOA"[self as usize]
    }
}

/// What tells the word of a UUID from that of a text of its 16 bytes.
const UUID_SEED: u64 = 1;

/// The word of a canonical UUID.
#[inline(always)]
pub fn uuid_word(uuid: &[u8; 16]) -> u64 {
    xxh3_64_with_seed(uuid, UUID_SEED)
}

/// The word of a text, which may be a canonical UUID.
pub fn text_word(text: &[u8]) -> u64 {
    match canonical_uuid(text) {
        Some(uuid) => uuid_word(&uuid),
        None => xxh3_64(text),
    }
}

fn canonical_uuid(text: &[u8]) -> Option<[u8; 16]> {
    parse_uuid(text.try_into().ok()?)
}

/// How the values of one field enter content hashes.
#[derive(Clone, Copy, Debug)]
pub struct ContentName {
    /// By letter.
    words: [u64; Letter::ALL.len()],
    factor: u64,
}

impl ContentName {
    /// Of a content field.
    pub fn of(name: &str) -> Self {
        let terms = Letter::ALL.map(|letter| ContentTerm::of(name.as_bytes(), letter));
        Self { words: terms.map(|term| term.word), factor: terms[0].factor }
    }

    /// Of a field that is no content: each of its terms is 0.
    pub fn none() -> Self {
        Self { words: [0; Letter::ALL.len()], factor: 0 }
    }

    /// With values of one form.
    #[inline(always)]
    pub fn with(&self, letter: Letter) -> ContentTerm {
        ContentTerm { word: self.words[letter as usize], factor: self.factor }
    }
}

/// How the values of one field and form enter content hashes.
#[derive(Clone, Copy, Debug)]
pub struct ContentTerm {
    word: u64,
    factor: u64,
}

/// The longest name that is hashed without being copied to new memory, in bytes.
const NAME_BYTES: usize = 63;

impl ContentTerm {
    /// Of a content field, or a member that could be one.
    pub fn of(name: &[u8], letter: Letter) -> Self {
        let mut room = [0; NAME_BYTES + 1];
        let word = match room.get_mut(..=name.len()) {
            Some(room) => {
                room[..name.len()].copy_from_slice(name);
                room[name.len()] = letter.byte();
                xxh3_64(room)
            }
            None => xxh3_64(&[name, &[letter.byte()]].concat()),
        };
        Self { word, factor: xxh3_64(name) | 1 }
    }
}

/// Collects a content hash, in any order of the fields.
#[derive(Clone, Copy, Debug, Default)]
pub struct ContentSum(u64);

impl ContentSum {
    /// Adds the word of a field's value.
    #[inline(always)]
    pub fn add(&mut self, term: ContentTerm, word: u64) {
        let product = u128::from(word ^ term.word) * u128::from(term.factor);
        self.0 = self.0.wrapping_add(product as u64 ^ (product >> 64) as u64);
    }

    /// What was added as a word.
    #[inline(always)]
    pub fn word(self) -> u64 {
        xxh3_64(&self.0.to_le_bytes())
    }

    /// The hash of what was added.
    #[inline(always)]
    pub fn finish(self) -> ContentHash {
        ContentHash::new(self.word())
    }
}

/// SipHash-1-3 with 128 bits of output, by its authors' description (<https://www.aumasson.jp/siphash/siphash.pdf>), over
/// whole words and then some bytes. Held at a moment, so that what keys begin with is not hashed again for each.
#[derive(Clone, Copy)]
struct Sip {
    v: [u64; 4],
    words: u64,
}

impl Sip {
    fn new(secret: Secret) -> Self {
        let (k0, k1) = halves(&secret.0);
        let v = [
            k0 ^ 0x736f_6d65_7073_6575,
            k1 ^ 0x646f_7261_6e64_6f6d ^ 0xEE,
            k0 ^ 0x6c79_6765_6e65_7261,
            k1 ^ 0x7465_6462_7974_6573,
        ];
        Self { v, words: 0 }
    }

    #[inline(always)]
    fn round(&mut self) {
        let [v0, v1, v2, v3] = &mut self.v;
        *v0 = v0.wrapping_add(*v1);
        *v2 = v2.wrapping_add(*v3);
        *v1 = v1.rotate_left(13) ^ *v0;
        *v3 = v3.rotate_left(16) ^ *v2;
        *v0 = v0.rotate_left(32);
        *v2 = v2.wrapping_add(*v1);
        *v0 = v0.wrapping_add(*v3);
        *v1 = v1.rotate_left(17) ^ *v2;
        *v3 = v3.rotate_left(21) ^ *v0;
        *v2 = v2.rotate_left(32);
    }

    #[inline(always)]
    fn word(&mut self, word: u64) {
        self.v[3] ^= word;
        self.round();
        self.v[0] ^= word;
        self.words += 1;
    }

    /// The hash of the words so far and of these fewer than 8 bytes, the first lowest.
    #[inline(always)]
    fn finish(mut self, rest: u64, rest_len: u64) -> u128 {
        self.word(rest | (self.words * 8 + rest_len) << 56);
        self.v[2] ^= 0xEE;
        let mut half = |mark: u64| {
            self.v[1] ^= mark;
            (0..3).for_each(|_| self.round());
            self.v.iter().fold(0, |all, v| all ^ v)
        };
        let low = half(0);
        u128::from(low) | u128::from(half(0xDD)) << 64
    }
}

#[inline(always)]
fn halves(bytes: &[u8; 16]) -> (u64, u64) {
    let all = u128::from_le_bytes(*bytes);
    (all as u64, (all >> 64) as u64)
}

/// A scope, hashed: what keys under one rule begin with.
#[derive(Clone, Copy)]
pub struct KeyScope {
    value: u64,
    begun: Sip,
}

impl KeyScope {
    /// The number.
    pub fn value(&self) -> u64 {
        self.value
    }
}

/// Builds dedupe keys.
pub struct KeyHasher {
    secret: Secret,
    /// The parts of one key.
    bytes: Vec<u8>,
}

impl KeyHasher {
    /// Under a data directory's secret.
    pub fn new(secret: Secret) -> Self {
        Self { secret, bytes: Vec::with_capacity(128) }
    }

    /// The scope of a rule for a source: the same for sources of one group and rules with the same parts.
    pub fn scope(&self, rule: &DedupeRule, source: &str) -> KeyScope {
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
        let value = hasher.finish();
        let mut begun = Sip::new(self.secret);
        begun.word(value);
        KeyScope { value, begun }
    }

    /// The key whose one part is a canonical UUID.
    #[inline]
    pub fn of_uuid(scope: &KeyScope, uuid: &[u8; 16]) -> DedupeKey {
        let (mut sip, (low, high)) = (scope.begun, halves(uuid));
        sip.word(low);
        sip.word(high);
        DedupeKey::new(sip.finish(u64::from(b'U'), 1))
    }

    /// Begins a key.
    pub fn begin(&mut self) {
        self.bytes.clear();
    }

    /// Adds a part.
    pub fn part(&mut self, part: KeyPart<'_>) {
        let bytes = &mut self.bytes;
        let mut with_length = |text: &[u8], letter| {
            bytes.extend_from_slice(text);
            bytes.extend_from_slice(&(text.len() as u32).to_le_bytes());
            bytes.push(letter);
        };
        let (word, letter) = match part {
            KeyPart::Text(text) => match canonical_uuid(text) {
                Some(uuid) => return self.part(KeyPart::Uuid(&uuid)),
                None => return with_length(text, b'T'),
            },
            KeyPart::Json(text) => return with_length(text, b'J'),
            KeyPart::Uuid(uuid) => {
                bytes.extend_from_slice(uuid);
                bytes.push(b'U');
                return;
            }
            KeyPart::Uint(value) => (value, b'P'),
            KeyPart::Int(value) => (value as u64, b'M'),
            KeyPart::Time(value) => (value as u64, b'I'),
        };
        bytes.extend_from_slice(&word.to_le_bytes());
        bytes.push(letter);
    }

    /// The key of what was added.
    pub fn finish(&self, scope: &KeyScope) -> DedupeKey {
        let mut sip = scope.begun;
        let (words, rest) = self.bytes.as_chunks::<8>();
        for word in words {
            sip.word(u64::from_le_bytes(*word));
        }
        let rest_word = rest.iter().rev().fold(0, |word, b| word << 8 | u64::from(*b));
        DedupeKey::new(sip.finish(rest_word, rest.len() as u64))
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
