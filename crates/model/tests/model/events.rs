//! Random events and the many ways to write each of them.
//!
//! Invariant: every writing of one event says the same. Not here: what a decoder makes of it.

use std::collections::BTreeMap;

use adsum_model::time::{MICROS_MAX, MICROS_MIN, format_utc};
use proptest::prelude::*;

/// A JSON value; numbers as written.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    Array(Vec<Node>),
    Object(Members),
}

pub type Members = Vec<(String, Node)>;

/// How an event is written: 0 is plain, any other number its own order, white space and escapes.
pub struct Writing {
    state: u64,
    plain: bool,
}

impl Writing {
    pub fn new(seed: u64) -> Self {
        Self { state: seed, plain: seed == 0 }
    }

    /// splitmix64.
    fn below(&mut self, n: usize) -> usize {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.state ^ (self.state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) as usize % n
    }

    fn space(&mut self, out: &mut String) {
        if !self.plain {
            out.push_str(["", "", "", " ", "\t", "\r", "  "][self.below(7)]);
        }
    }

    fn text(&mut self, text: &str, out: &mut String) {
        // Half of the texts have no escapes: those take the decoder's fast way.
        let quiet = self.plain || self.below(2) == 0;
        out.push('"');
        for c in text.chars() {
            let way = if quiet { 9 } else { self.below(10) };
            let short = match c {
                '"' => Some('"'),
                '\\' => Some('\\'),
                '/' => Some('/'),
                '\u{8}' => Some('b'),
                '\u{c}' => Some('f'),
                '\n' => Some('n'),
                '\r' => Some('r'),
                '\t' => Some('t'),
                _ => None,
            };
            let must = c < ' ' || c == '"' || c == '\\';
            match short {
                Some(letter) if way > 4 && (must || way < 8) => out.extend(['\\', letter]),
                _ if must || way < 2 => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        let digits = if way == 0 { format!("{unit:04x}") } else { format!("{unit:04X}") };
                        out.push_str("\\u");
                        out.push_str(&digits);
                    }
                }
                _ => out.push(c),
            }
        }
        out.push('"');
    }

    fn node(&mut self, node: &Node, out: &mut String) {
        match node {
            Node::Null => out.push_str("null"),
            Node::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Node::Number(text) => out.push_str(text),
            Node::Text(text) => self.text(text, out),
            Node::Array(nodes) => {
                out.push('[');
                self.space(out);
                for (i, node) in nodes.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                        self.space(out);
                    }
                    self.node(node, out);
                    self.space(out);
                }
                out.push(']');
            }
            Node::Object(members) => {
                let mut left: Vec<&(String, Node)> = members.iter().collect();
                out.push('{');
                self.space(out);
                while !left.is_empty() {
                    let i = if self.plain { 0 } else { self.below(left.len()) };
                    let (name, node) = left.remove(i);
                    self.text(name, out);
                    self.space(out);
                    out.push(':');
                    self.space(out);
                    self.node(node, out);
                    self.space(out);
                    if !left.is_empty() {
                        out.push(',');
                        self.space(out);
                    }
                }
                out.push('}');
            }
        }
    }

    /// One line.
    pub fn line(&mut self, event: &Members) -> String {
        let mut out = String::new();
        self.space(&mut out);
        self.node(&Node::Object(event.clone()), &mut out);
        self.space(&mut out);
        out
    }
}

fn texts(of: &[&str]) -> BoxedStrategy<Node> {
    let of: Vec<String> = of.iter().map(|s| (*s).to_owned()).collect();
    proptest::sample::select(of).prop_map(Node::Text).boxed()
}

/// Text that an id may be.
fn id() -> BoxedStrategy<Node> {
    prop_oneof![
        "[a-zA-Z0-9_/\"\\\\ äß€\u{1F600}\u{200d}-]{1,24}",
        "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
        "[0-9A-F]{8}-[0-9A-F]{4}-[0-9A-F]{4}-[0-9A-F]{4}-[0-9A-F]{12}",
        "[a-z]{15,18}",
        "[a-z]{255,256}",
    ]
    .prop_map(Node::Text)
    .boxed()
}

/// Text that free JSON may have: any character at all.
fn any_text() -> BoxedStrategy<String> {
    let chars = prop_oneof![
        3 => proptest::char::range('a', 'e'),
        1 => proptest::sample::select(vec!['\0', '\n', '\t', '\u{1f}', '"', '\\', '/', '\u{7f}', '\u{202e}', '\u{ffff}']),
        1 => any::<char>(),
    ];
    proptest::collection::vec(chars, 0..8).prop_map(|chars| chars.into_iter().collect()).boxed()
}

fn number() -> BoxedStrategy<Node> {
    let fixed = [
        "0",
        "-0",
        "7",
        "-7",
        "1.50",
        "0.5",
        "1e3",
        "1E+3",
        "-2e-7",
        "18446744073709551615",
        "18446744073709551616",
        "-9223372036854775808",
        "-9223372036854775809",
        "123456789012345678901234567890",
    ];
    prop_oneof![proptest::sample::select(fixed.map(str::to_owned).to_vec()), any::<i64>().prop_map(|n| n.to_string())]
        .prop_map(Node::Number)
        .boxed()
}

fn object(of: impl Strategy<Value = Node> + 'static) -> BoxedStrategy<Node> {
    let members = proptest::collection::vec((any_text(), of), 0..4);
    // A map: a name stands once.
    members.prop_map(|m| Node::Object(m.into_iter().collect::<BTreeMap<_, _>>().into_iter().collect())).boxed()
}

/// Any JSON value, nested a little.
pub fn any_json() -> BoxedStrategy<Node> {
    let leaf = prop_oneof![
        Just(Node::Null),
        any::<bool>().prop_map(Node::Bool),
        number(),
        any_text().prop_map(Node::Text),
        id(),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![proptest::collection::vec(inner.clone(), 0..4).prop_map(Node::Array), object(inner)]
    })
    .boxed()
}

fn time() -> BoxedStrategy<Node> {
    prop_oneof![
        (1_790_000_000_i64..1_800_000_000).prop_map(|s| s * 1_000_000),
        (1_790_000_000_000_i64..1_800_000_000_000).prop_map(|ms| ms * 1_000),
        MICROS_MIN..=MICROS_MAX,
    ]
    .prop_map(|micros| Node::Text(format_utc(micros)))
    .boxed()
}

fn uint(max: u64) -> BoxedStrategy<Node> {
    prop_oneof![0..=max.min(1_000), 0..=max, Just(max)].prop_map(|n| Node::Number(n.to_string())).boxed()
}

const MICROS_MAX_PER_EVENT: u64 = 1_000_000_000_000;

/// The fields that the catalog knows and an event may leave out, each with its values.
fn optional_fields() -> Vec<(&'static str, BoxedStrategy<Node>)> {
    vec![
        ("adId", texts(&["ad_1", "ad_2", "ad-with-a-name-of-more-than-16"])),
        ("publisherId", texts(&["pub_1", "pub_2", "Zürich \"Nord\""])),
        ("placementId", id()),
        ("country", texts(&["US", "DE", "other", "\u{1F600}"])),
        ("deviceType", texts(&["mobile", "exactly-16-bytes"])),
        ("creativeId", id()),
        ("auctionId", id()),
        ("impressionId", id()),
        ("clickId", id()),
        ("clickOrdinal", uint(u64::from(u32::MAX))),
        ("userId", id()),
        ("sessionId", id()),
        ("position", any::<i64>().prop_map(|n| Node::Number(n.to_string())).boxed()),
        ("propensity", number()),
        ("priceMicros", uint(MICROS_MAX_PER_EVENT)),
        ("valueMicros", uint(MICROS_MAX_PER_EVENT)),
        ("currency", texts(&["USD", "EUR", "JPY"])),
        ("userAgent", id()),
        ("ip", texts(&["192.0.2.7", "2001:db8::7"])),
        ("consent", any_json()),
        ("measurementSource", id()),
        ("schemaVersion", Just(Node::Number("1".to_owned())).boxed()),
        ("attributes", object(any_json())),
        ("receivedAt", time()),
        ("edgeReceivedAt", time()),
    ]
}

/// An event that passes every check: all known fields, some of them null, and unknown ones.
pub fn any_event() -> impl Strategy<Value = Members> {
    let required =
        (id(), texts(&["impression", "click", "conversion"]), time(), texts(&["camp_1", "camp_2", "camp_3"]));
    let optional: Vec<_> = optional_fields()
        .into_iter()
        .map(|(name, values)| {
            let values = prop_oneof![4 => values, 1 => Just(Node::Null)];
            proptest::option::of(values).prop_map(move |v| v.map(|v| (name.to_owned(), v)))
        })
        .collect();
    let names = ["site", "Site", "siteSection", "a", "zz", "$extra", "event_id", "ä", "\u{1}", "", "b\"q\\"];
    let names = proptest::sample::subsequence(names.to_vec(), 0..=4);
    let unknown = names.prop_flat_map(|names| {
        let values = proptest::collection::vec(any_json(), names.len());
        values.prop_map(move |v| names.iter().map(|n| (*n).to_owned()).zip(v).collect::<Vec<_>>())
    });
    (required, optional, unknown).prop_map(|((event, kind, at, campaign), optional, unknown)| {
        let required = [("eventId", event), ("eventType", kind), ("occurredAt", at), ("campaignId", campaign)];
        let required = required.into_iter().map(|(name, value)| (name.to_owned(), value));
        required.chain(optional.into_iter().flatten()).chain(unknown).collect()
    })
}
