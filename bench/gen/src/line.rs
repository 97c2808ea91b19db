//! One event as one line of JSON, in several layouts that mean the same.
//!
//! Invariant: the text is a function of seed, layout and event, so a retry is byte for byte the line that it repeats; and
//! whatever the layout, a defect stays one. Not here: which events there are.

use crate::draw::{Draw, purpose};
use crate::time::Stamp;
use crate::world::{COUNTRIES, DEVICES, Defect, Event};

/// How lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// The fields in their usual order, no white space.
    Usual,
    /// The usual order backwards.
    Reversed,
    /// Another order in every line.
    Shuffled,
    /// A space after each colon and comma.
    Spaced,
    /// Some characters of values and keys as `\u` escapes.
    Escaped,
    /// Members that nobody knows between the others, nested ones too.
    Unknown,
}

impl Layout {
    /// Every layout with its name on the command line.
    pub const ALL: [(&'static str, Self); 6] = [
        ("usual", Self::Usual),
        ("reversed", Self::Reversed),
        ("shuffled", Self::Shuffled),
        ("spaced", Self::Spaced),
        ("escaped", Self::Escaped),
        ("unknown", Self::Unknown),
    ];

    /// The layout of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(n, _)| *n == name).map(|(_, layout)| layout)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Field {
    EventId,
    EventType,
    OccurredAt,
    CampaignId,
    AdId,
    PublisherId,
    PlacementId,
    Country,
    DeviceType,
    UserId,
    AuctionId,
    ImpressionId,
    PriceMicros,
    SchemaVersion,
}

/// The usual order.
const USUAL: [(Field, &str); 14] = [
    (Field::EventId, "\"eventId\""),
    (Field::EventType, "\"eventType\""),
    (Field::OccurredAt, "\"occurredAt\""),
    (Field::CampaignId, "\"campaignId\""),
    (Field::AdId, "\"adId\""),
    (Field::PublisherId, "\"publisherId\""),
    (Field::PlacementId, "\"placementId\""),
    (Field::Country, "\"country\""),
    (Field::DeviceType, "\"deviceType\""),
    (Field::UserId, "\"userId\""),
    (Field::AuctionId, "\"auctionId\""),
    (Field::ImpressionId, "\"impressionId\""),
    (Field::PriceMicros, "\"priceMicros\""),
    (Field::SchemaVersion, "\"schemaVersion\""),
];
/// What a strict line has; a line with a missing field lacks one of these.
const REQUIRED: [Field; 8] = [
    Field::EventId,
    Field::EventType,
    Field::OccurredAt,
    Field::CampaignId,
    Field::PublisherId,
    Field::Country,
    Field::DeviceType,
    Field::PriceMicros,
];
/// Members that nobody knows; some look like known ones to a reader that does not mind the nesting.
const STRANGERS: [&str; 6] = [
    r#""debug":{"eventId":"none","priceMicros":-1,"list":[1,2.5e3,{"country":null,"eventType":"click"}]}"#,
    r#""note":"a \"quoted\" } , { note""#,
    r#""sampled":false"#,
    r#""score":-0.25E-3"#,
    r#""tags":["a","\\",[],{}]"#,
    r#""hint":null"#,
];
/// A field is written with an escape in one of so many cases.
const ESCAPE_ONE_IN: u64 = 5;
/// A stranger stands before a field in one of so many cases.
const STRANGER_ONE_IN: u64 = 7;

/// Appends a number in decimal.
pub(crate) fn push_number(value: u64, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = value;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Appends a UUID as canonical lower-case text.
pub(crate) fn push_uuid(uuid: &[u8; 16], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut text = [b'-'; 36];
    let mut at = 0;
    for (i, byte) in uuid.iter().enumerate() {
        at += usize::from(matches!(i, 4 | 6 | 8 | 10));
        text[at] = HEX[usize::from(byte >> 4)];
        text[at + 1] = HEX[usize::from(byte & 15)];
        at += 2;
    }
    out.extend_from_slice(&text);
}

fn push_quoted_uuid(uuid: &[u8; 16], out: &mut Vec<u8>) {
    out.push(b'"');
    push_uuid(uuid, out);
    out.push(b'"');
}

fn push_named(prefix: &str, number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(prefix.as_bytes());
    push_number(number, out);
    out.push(b'"');
}

fn push_text(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(text);
    out.push(b'"');
}

/// Writes one character of the quoted text from `start` to the end as an escape.
fn escape_one(draw: &mut Draw, start: usize, out: &mut Vec<u8>) {
    let inside = (out.len() - start).saturating_sub(2) as u64;
    if inside == 0 || out[start] != b'"' {
        return;
    }
    let at = start + 1 + draw.below(inside) as usize;
    let escape = format!("\\u{:04x}", out[at]);
    out.splice(at..=at, escape.into_bytes());
}

/// Writes events as lines.
#[derive(Debug)]
pub(crate) struct LinePrinter {
    layout: Layout,
    details: u64,
    stamp: Stamp,
}

impl LinePrinter {
    pub(crate) fn new(seed: u64, layout: Layout) -> Self {
        Self { layout, details: purpose(seed, 6), stamp: Stamp::default() }
    }

    /// Appends the event's line with its newline.
    pub(crate) fn print(&mut self, event: &Event, out: &mut Vec<u8>) {
        let mut draw = Draw::at(self.details, event.index);
        let missing =
            (event.defect == Some(Defect::MissingField)).then(|| REQUIRED[draw.below(REQUIRED.len() as u64) as usize]);
        let mut order = USUAL;
        match self.layout {
            Layout::Reversed => order.reverse(),
            Layout::Shuffled => {
                for left in (1..order.len()).rev() {
                    order.swap(left, draw.below(left as u64 + 1) as usize);
                }
            }
            Layout::Usual | Layout::Spaced | Layout::Escaped | Layout::Unknown => {}
        }
        let (colon, comma): (&[u8], &[u8]) = if self.layout == Layout::Spaced { (b": ", b", ") } else { (b":", b",") };
        let start = out.len();
        out.push(b'{');
        let mut strangers = STRANGERS.iter();
        for (field, key) in order {
            if Some(field) == missing {
                continue;
            }
            if out.len() > start + 1 {
                out.extend_from_slice(comma);
            }
            if self.layout == Layout::Unknown
                && (strangers.len() == STRANGERS.len() || draw.below(STRANGER_ONE_IN) == 0)
                && let Some(stranger) = strangers.next()
            {
                out.extend_from_slice(stranger.as_bytes());
                out.push(b',');
            }
            let key_start = out.len();
            out.extend_from_slice(key.as_bytes());
            if self.layout == Layout::Escaped && draw.below(ESCAPE_ONE_IN * 4) == 0 {
                escape_one(&mut draw, key_start, out);
            }
            out.extend_from_slice(colon);
            let value_start = out.len();
            self.value(field, event, out);
            if self.layout == Layout::Escaped && draw.below(ESCAPE_ONE_IN) == 0 {
                escape_one(&mut draw, value_start, out);
            }
        }
        out.push(b'}');
        if event.defect == Some(Defect::Truncated) {
            // At least the brace and at most everything but the closing one: never blank, never valid.
            let kept = 1 + draw.below((out.len() - start) as u64 - 1) as usize;
            out.truncate(start + kept);
        }
        out.push(b'\n');
    }

    #[inline]
    fn value(&mut self, field: Field, event: &Event, out: &mut Vec<u8>) {
        let shared = &event.shared;
        match field {
            Field::EventId => push_quoted_uuid(&event.event_id, out),
            Field::EventType if event.defect == Some(Defect::UnknownType) => push_text(b"engagement", out),
            Field::EventType => push_text(event.kind.name().as_bytes(), out),
            Field::OccurredAt => push_text(self.stamp.millis(event.occurred_at_ms), out),
            Field::CampaignId => push_named("\"camp_", shared.campaign, out),
            Field::AdId => push_named("\"ad_", shared.ad, out),
            Field::PublisherId => push_named("\"pub_", shared.publisher, out),
            Field::PlacementId => push_named("\"plc_", shared.placement, out),
            Field::Country => push_text(COUNTRIES[shared.country].as_bytes(), out),
            Field::DeviceType => push_text(DEVICES[shared.device].as_bytes(), out),
            Field::UserId => push_named("\"u_", shared.user, out),
            Field::AuctionId => push_quoted_uuid(&shared.auction_id, out),
            Field::ImpressionId => push_quoted_uuid(&shared.impression_id, out),
            Field::PriceMicros => {
                if event.defect == Some(Defect::NegativePrice) {
                    out.push(b'-');
                }
                push_number(event.price_micros, out);
            }
            Field::SchemaVersion => push_number(1, out),
        }
    }
}
