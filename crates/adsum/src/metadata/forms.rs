//! How values stand in a change's JSON: moments as RFC 3339 text, digests as hexadecimal digits, names as the API has
//! them.
//!
//! Invariant: what is written is read back as it was; what is read and is none of these is an error, never a default.

use adsum_model::campaigns::CampaignStatus;
use adsum_model::catalog::BillableType;
use adsum_model::time::{EventTime, parse_rfc3339};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serializer};

use crate::http::Role;

/// Lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|b| [b >> 4, b & 15]).map(|d| char::from(DIGITS[usize::from(d)])).collect()
}

/// 32 bytes from 64 lower-case hexadecimal digits.
pub fn unhex(text: &str) -> Option<[u8; 32]> {
    let digit = |b: u8| match b {
        b'0'..=b'9' => Some(b - b'0'),
        b'a'..=b'f' => Some(b - b'a' + 10),
        _ => None,
    };
    let digits: &[u8; 64] = text.as_bytes().try_into().ok()?;
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

/// A SHA-256.
pub mod digest {
    use super::*;

    pub fn serialize<S: Serializer>(digest: &[u8; 32], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&hex(digest))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<[u8; 32], D::Error> {
        unhex(&String::deserialize(from)?).ok_or_else(|| D::Error::custom("no SHA-256 in hexadecimal digits"))
    }
}

/// A moment.
pub mod moment {
    use super::*;

    pub fn serialize<S: Serializer>(at: &EventTime, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(at)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<EventTime, D::Error> {
        let text = String::deserialize(from)?;
        let micros = parse_rfc3339(text.as_bytes()).map_err(|_| D::Error::custom("no RFC 3339 moment"))?;
        Ok(EventTime::from_micros(micros))
    }
}

/// A moment that may be missing; the member is left out then.
pub mod moment_if {
    use super::*;

    pub fn serialize<S: Serializer>(at: &Option<EventTime>, to: S) -> Result<S::Ok, S::Error> {
        match at {
            Some(at) => moment::serialize(at, to),
            None => to.serialize_none(),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<EventTime>, D::Error> {
        moment::deserialize(from).map(Some)
    }
}

/// What a campaign pays for.
pub mod billable {
    use super::*;

    pub fn serialize<S: Serializer>(billable: &BillableType, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(billable.name())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<BillableType, D::Error> {
        BillableType::from_name(&String::deserialize(from)?).ok_or_else(|| D::Error::custom("none of cpm, cpc, cpa"))
    }
}

/// Whether a campaign is meant to run.
pub mod status {
    use super::*;

    pub fn serialize<S: Serializer>(status: &CampaignStatus, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(status.name())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<CampaignStatus, D::Error> {
        CampaignStatus::from_name(&String::deserialize(from)?).ok_or_else(|| D::Error::custom("none of active, paused"))
    }
}

/// What a token is for.
pub mod role {
    use super::*;

    pub fn serialize<S: Serializer>(role: &Role, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(role.name())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Role, D::Error> {
        Role::from_name(&String::deserialize(from)?).ok_or_else(|| D::Error::custom("no role"))
    }
}
