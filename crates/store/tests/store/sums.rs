//! What checkpoints add adds up: in any groups, merged at any points, rows in any order.
//!
//! Invariant: rows, dedupe records, quarantine and the state hash are those of the same changes one by one in memory.
//! Not here: what a store gives for one sequence of checkpoints (contract.rs).

use std::sync::Arc;

use adsum_disk::FaultyDisk;
use adsum_model::id::{ContentHash, DedupeKey, FrameSeq, Offset, Position, Revision};
use adsum_model::state::{Checkpoint, DedupeRecord, QuarantineEntry, QuarantineReason, SmallState};
use adsum_model::symbol::{Symbol, Symbols};
use adsum_model::table::TableRows;
use adsum_model::time::{BucketStart, EventTime, ReceivedAt};
use adsum_store::{AggregateStore, BucketRange, MemoryStore, StateHash};
use proptest::prelude::*;

use crate::contract::{commit, merge_all, open};
use crate::oracle::{Place, scanned, schemas};

/// What the frames of one step changed.
#[derive(Clone, Debug)]
struct Change {
    /// Table, minute, key, value.
    rows: Vec<(usize, i64, u8, i32)>,
    keys: Vec<u8>,
    held: u8,
    /// Of those that entered at any step before.
    released: Vec<prop::sample::Index>,
}

fn any_change() -> impl Strategy<Value = Change> {
    let rows = proptest::collection::vec((0..3_usize, 0..4_i64, 0..5_u8, any::<i32>()), 0..8);
    let keys = proptest::collection::vec(0..12_u8, 0..6);
    let released = proptest::collection::vec(any::<prop::sample::Index>(), 0..2);
    (rows, keys, 0..3_u8, released).prop_map(|(rows, keys, held, released)| Change { rows, keys, held, released })
}

/// Each change as a checkpoint of its own.
fn checkpoints(changes: &[Change], symbols: &Symbols) -> Vec<Checkpoint> {
    let (mut offset, mut waiting) = (0, Vec::new());
    let mut all = Vec::new();
    for (i, change) in changes.iter().enumerate() {
        let frame = i as u64 + 1;
        let mut rows: Vec<_> = schemas().iter().map(|s| TableRows::new(s.keys.len(), s.columns.len())).collect();
        for (table, minute, key, value) in &change.rows {
            let schema = &schemas()[*table];
            let text = |c: usize| match (key + c as u8) % 3 {
                0 => Symbol::NULL,
                n => symbols.intern(&[b'a' + n + key]),
            };
            let key: Vec<_> = (0..schema.keys.len()).map(text).collect();
            let values: Vec<_> = (0..schema.columns.len()).map(|c| i64::from(*value) * (c as i64 + 1)).collect();
            rows[*table].push(BucketStart::from_seconds(60 * minute), &key, &values, Revision::new(frame));
        }
        let mut next = || {
            offset += 1;
            Offset::new(offset)
        };
        let dedupe = change.keys.iter().map(|key| DedupeRecord {
            key: DedupeKey::new((u128::from(*key) << 90) + u128::from(key % 4)),
            content: ContentHash::new(frame),
            occurred_at: EventTime::from_micros(1_000_000 * i64::from(*key)),
            offset: next(),
            import: key % 5 == 0,
        });
        let dedupe = vec![dedupe.collect()];
        let mut released = Vec::new();
        for which in &change.released {
            if !waiting.is_empty() {
                released.push(waiting.remove(which.index(waiting.len())));
            }
        }
        let quarantined: Vec<_> = (0..change.held)
            .map(|n| QuarantineEntry {
                offset: next(),
                reason: QuarantineReason::ALL[usize::from(n)],
                received_at: ReceivedAt::from_micros(frame as i64),
            })
            .collect();
        waiting.extend(quarantined.iter().map(|entry| entry.offset));
        all.push(Checkpoint {
            through: Position { seq: FrameSeq::new(frame), offset: Offset::new(offset) },
            revision: Revision::new(frame),
            dedupe,
            dedupe_line: EventTime::from_micros(500_000 * frame as i64),
            rows: rows.into_iter().map(|part| vec![part]).collect(),
            quarantined,
            released,
            small: SmallState::default(),
        });
    }
    all
}

/// One checkpoint as if two were one.
fn joined(mut a: Checkpoint, b: Checkpoint) -> Checkpoint {
    a.dedupe.extend(b.dedupe);
    a.rows.iter_mut().zip(b.rows).for_each(|(parts, more)| parts.extend(more));
    a.quarantined.extend(b.quarantined);
    a.released.extend(b.released);
    Checkpoint { through: b.through, revision: b.revision, dedupe_line: b.dedupe_line, small: b.small, ..a }
}

/// A place, its sums and its revision.
type Row = (Place, Vec<i64>, u64);

/// Everything that is counted.
#[derive(Debug, PartialEq)]
struct Counted {
    rows: Vec<Vec<Row>>,
    records: Vec<Option<DedupeRecord>>,
    quarantine: Vec<QuarantineEntry>,
    hash: StateHash,
}

fn counted(store: &dyn AggregateStore) -> Counted {
    let rows = (0..schemas().len()).map(|table| {
        let rows = scanned(store, table, BucketRange::ALL, &[], &[]);
        rows.into_iter().map(|(place, (values, revision, _))| (place, values, revision)).collect()
    });
    let keys: Vec<_> = (0..12_u128).map(|key| DedupeKey::new((key << 90) + key % 4)).collect();
    let mut records = Vec::new();
    store.lookup(&keys, &mut records).unwrap();
    let quarantine = store.quarantine_list(None, usize::MAX).unwrap();
    Counted { rows: rows.collect(), records, quarantine, hash: store.state_hash(None).unwrap() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn groups_merges_and_order_change_nothing(
        changes in proptest::collection::vec(any_change(), 1..10),
        ends in proptest::collection::vec(any::<bool>(), 10),
        merges in proptest::collection::vec(any::<bool>(), 10),
        exchanged in proptest::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..6),
    ) {
        let symbols = Arc::new(Symbols::default());
        let one_by_one = checkpoints(&changes, &symbols);
        let memory = MemoryStore::new(schemas(), symbols.clone()).unwrap();
        for checkpoint in &one_by_one {
            commit(&memory, checkpoint).unwrap();
        }
        let mut others = one_by_one;
        let mut rows: Vec<_> = others.iter_mut().map(|c| std::mem::take(&mut c.rows)).collect();
        for (a, b) in exchanged {
            rows.swap(a.index(others.len()), b.index(others.len()));
        }
        others.iter_mut().zip(rows).for_each(|(checkpoint, rows)| checkpoint.rows = rows);
        let disk = FaultyDisk::new(1);
        let store = open(Arc::new(disk.clone()), &symbols).unwrap();
        let mut waiting: Option<Checkpoint> = None;
        let count = others.len();
        for (i, checkpoint) in others.into_iter().enumerate() {
            let group = match waiting.take() {
                Some(before) => joined(before, checkpoint),
                None => checkpoint,
            };
            if !ends[i] && i + 1 < count {
                waiting = Some(group);
                continue;
            }
            let pending = store.state_hash(Some(&group)).unwrap();
            commit(&store, &group).unwrap();
            prop_assert_eq!(store.state_hash(None).unwrap(), pending, "the hash with what is pending");
            // Nothing added changes nothing.
            let nothing = Checkpoint {
                through: group.through,
                revision: group.revision,
                dedupe_line: group.dedupe_line,
                ..Checkpoint::default()
            };
            commit(&store, &nothing).unwrap();
            prop_assert_eq!(store.state_hash(None).unwrap(), pending, "an empty checkpoint");
            if merges[i] {
                merge_all(&store).unwrap();
            }
        }
        let want = counted(&memory);
        prop_assert_eq!(&counted(&store), &want);
        drop(store);
        prop_assert_eq!(&counted(&open(Arc::new(disk), &symbols).unwrap()), &want, "opened again");
    }
}
