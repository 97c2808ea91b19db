//! Lines of events for the tests.

use std::fmt::Write;

/// An event; fields are given as JSON text.
#[derive(Clone, Debug)]
pub struct Event {
    fields: Vec<(String, String)>,
}

impl Event {
    /// An impression of `camp_1` on the 20th of November 2026.
    pub fn new(id: &str) -> Self {
        let fields = [("eventType", "impression"), ("occurredAt", "2026-11-20T10:00:00Z"), ("campaignId", "camp_1")];
        let mut event = Self { fields: Vec::new() }.with("eventId", id);
        for (name, value) in fields {
            event = event.with(name, value);
        }
        event
    }

    /// With a field of text, in place of what it had.
    pub fn with(self, name: &str, text: &str) -> Self {
        let quoted = serde_json::to_string(text).unwrap();
        self.with_json(name, &quoted)
    }

    /// With a field of any JSON.
    pub fn with_json(mut self, name: &str, json: &str) -> Self {
        self.fields.retain(|(known, _)| known != name);
        self.fields.push((name.to_owned(), json.to_owned()));
        self
    }

    /// Without a field.
    pub fn without(mut self, name: &str) -> Self {
        self.fields.retain(|(known, _)| known != name);
        self
    }

    /// At a moment.
    pub fn at(self, time: &str) -> Self {
        self.with("occurredAt", time)
    }

    /// As a line without its end.
    pub fn line(&self) -> String {
        let members: Vec<String> = self.fields.iter().map(|(name, json)| format!("\"{name}\":{json}")).collect();
        format!("{{{}}}", members.join(","))
    }
}

/// The lines of events, each with its end.
pub fn text(events: &[Event]) -> String {
    let mut text = String::new();
    for event in events {
        writeln!(text, "{}", event.line()).unwrap();
    }
    text
}

/// `count` impressions named `<prefix>_0` and so on, one in a second.
pub fn many(prefix: &str, count: usize) -> String {
    let mut text = String::new();
    for i in 0..count {
        let (hour, minute, second) = (i / 3600 % 24, i / 60 % 60, i % 60);
        writeln!(
            text,
            "{{\"eventId\":\"{prefix}_{i}\",\"eventType\":\"impression\",\
             \"occurredAt\":\"2026-11-20T{hour:02}:{minute:02}:{second:02}Z\",\"campaignId\":\"camp_{}\"}}",
            i % 3
        )
        .unwrap();
    }
    text
}

/// A reproducible sequence (SplitMix64, Steele, Lea and Flood 2014).
pub struct Random(u64);

impl Random {
    /// From a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % end
    }
}
