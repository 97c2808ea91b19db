//! The rows, minute by minute, as CSV.
//!
//! Threads make the text of one minute each and write it when it is that minute's turn. Invariant: sorted by minute; within
//! one in no order.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

use anyhow::anyhow;

use crate::names::Names;
use crate::parse::{CellKey, Sums};
use crate::tables::Tables;

const HEADER: &[u8] =
    b"bucketStart,campaignId,publisherId,country,deviceType,impressions,clicks,conversions,spendMicros\n";

type Minute = (u32, Vec<(CellKey, Sums)>);

/// Writes all rows; returns how many there are.
pub fn write(mut out: File, tables: Tables, names: &Names, threads: usize) -> anyhow::Result<u64> {
    let mut minutes: BTreeMap<u32, Vec<(CellKey, Sums)>> = BTreeMap::new();
    for cells in tables.into_cells() {
        for (cell, sums) in cells {
            minutes.entry((cell >> 96) as u32).or_default().push((cell, sums));
        }
    }
    let minutes: Vec<Minute> = minutes.into_iter().collect();
    let texts = [0, 1, 2, 3].map(|dimension| names.texts(dimension));
    out.write_all(HEADER)?;
    let next = AtomicUsize::new(0);
    let turn = (Mutex::new((0, out)), Condvar::new());
    std::thread::scope(|scope| {
        let workers: Vec<_> =
            (0..threads).map(|_| scope.spawn(|| write_minutes(&minutes, &texts, &next, &turn))).collect();
        workers.into_iter().try_for_each(|w| w.join().unwrap_or_else(|_| Err(anyhow!("a writer panicked"))))
    })?;
    Ok(minutes.iter().map(|(_, rows)| rows.len() as u64).sum())
}

fn write_minutes(
    minutes: &[Minute],
    texts: &[Vec<String>; 4],
    next: &AtomicUsize,
    (turn, moved): &(Mutex<(usize, File)>, Condvar),
) -> anyhow::Result<()> {
    let mut text = Vec::new();
    loop {
        let mine = next.fetch_add(1, Ordering::Relaxed);
        let Some(minute) = minutes.get(mine) else { return Ok(()) };
        text.clear();
        render(minute, texts, &mut text);
        let waiting = turn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut at_turn = moved.wait_while(waiting, |(at, _)| *at != mine).unwrap_or_else(PoisonError::into_inner);
        let (at, file) = &mut *at_turn;
        // The turn moves on after a failure too: the others must not wait for ever.
        let written = file.write_all(&text);
        *at += 1;
        moved.notify_all();
        written?;
    }
}

fn render((minute, rows): &Minute, texts: &[Vec<String>; 4], out: &mut Vec<u8>) {
    let start = moment(i64::from(minute / 1_440), u64::from(minute % 1_440) * 60);
    for (cell, sums) in rows {
        out.extend_from_slice(start.as_bytes());
        let numbers = [(cell >> 64) as u32, (cell >> 32) as u32, (cell >> 16) as u32 & 0xFFFF, *cell as u32 & 0xFFFF];
        for (number, texts) in numbers.into_iter().zip(texts) {
            out.push(b',');
            out.extend_from_slice(texts[number as usize].as_bytes());
        }
        for value in sums.counts.map(u64::from).into_iter().chain([sums.spend_micros]) {
            out.push(b',');
            push_number(value, out);
        }
        out.push(b'\n');
    }
}

fn push_number(value: u64, out: &mut Vec<u8>) {
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

/// A moment as reports write it: days since 1970 and seconds of that day.
pub fn moment(days: i64, of_day: u64) -> String {
    let (year, month, day) = civil(days);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", of_day / 3_600, of_day / 60 % 60, of_day % 60)
}

/// Year, month and day of a count of days since 1970 (Hinnant, chrono-compatible low-level date algorithms).
fn civil(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let (era, day_of_era) = (z / 146_097, z % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}
