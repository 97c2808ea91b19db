//! What adds up adds up in any order and in any parts: the ledger, and the coupons of distinct users.
//!
//! Invariant: adding is associative and commutative, and nothing added changes nothing. Not here: rows and dedupe
//! records, which the store adds up (crates/store/tests/store/sums.rs).

use adsum_model::distinct::{Coupon, Sketch};
use adsum_model::ledger::{LEDGER_COLUMNS, LedgerColumn, LedgerCounts};
use adsum_model::state::QuarantineReason;
use proptest::prelude::*;

/// What can happen to an event: rejected, counted, a duplicate, or into quarantine and perhaps out of it.
fn any_counts() -> impl Strategy<Value = LedgerCounts> {
    let reasons = QuarantineReason::ALL.into_iter().filter(|r| *r != QuarantineReason::Rejected).collect::<Vec<_>>();
    let events = proptest::collection::vec((0..5_u8, proptest::sample::select(reasons)), 0..20);
    events.prop_map(|events| {
        let mut counts = LedgerCounts::default();
        for (outcome, reason) in events {
            counts.add(LedgerColumn::Received, 1);
            counts.add(if outcome == 0 { LedgerColumn::Rejected } else { LedgerColumn::Accepted }, 1);
            match outcome {
                0 => {}
                1 => counts.add(LedgerColumn::Counted, 1),
                2 => counts.add(LedgerColumn::Duplicates, 1),
                3 => counts.quarantine(reason, 1),
                // A replay takes it out and counts it.
                _ => {
                    counts.quarantine(reason, 1);
                    counts.quarantine(reason, -1);
                    counts.add(LedgerColumn::Counted, 1);
                }
            }
        }
        counts
    })
}

fn merged(a: &LedgerCounts, b: &LedgerCounts) -> LedgerCounts {
    let mut sum = *a;
    sum.merge(b);
    sum
}

fn registers_of(coupons: &[Coupon]) -> u64 {
    let mut sketch = Sketch::default();
    coupons.iter().for_each(|coupon| sketch.add(*coupon));
    sketch.estimate()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn ledgers_merge_in_any_order_and_stay_in_balance(a in any_counts(), b in any_counts(), c in any_counts()) {
        prop_assert_eq!(merged(&a, &merged(&b, &c)), merged(&merged(&a, &b), &c));
        prop_assert_eq!(merged(&a, &b), merged(&b, &a));
        prop_assert_eq!(merged(&a, &LedgerCounts::default()), a);
        prop_assert_eq!(merged(&merged(&a, &b), &c).imbalances(), Vec::<String>::new());
        prop_assert_eq!(LedgerCounts::from_values(a.values()), a);
    }

    /// One event that stands in no column beside its own is found, wherever it stands.
    #[test]
    fn a_ledger_out_of_balance_is_found(counts in any_counts(), column in 0..10_usize, by in 1..9_i64) {
        prop_assert!(LEDGER_COLUMNS > 10);
        let mut counts = counts;
        counts.add(LedgerColumn::ALL[column], by);
        prop_assert!(!counts.imbalances().is_empty());
    }

    /// The estimate is of the set: in any order, in any parts, however often.
    #[test]
    fn users_are_a_set(
        hashes in proptest::collection::vec(any::<u64>(), 0..200),
        again in proptest::collection::vec(any::<prop::sample::Index>(), 0..50),
        cut in any::<prop::sample::Index>(),
    ) {
        let coupons: Vec<_> = hashes.iter().map(|hash| Coupon::of(*hash)).collect();
        let whole = registers_of(&coupons);
        let (front, behind) = coupons.split_at(if coupons.is_empty() { 0 } else { cut.index(coupons.len()) });
        prop_assert_eq!(registers_of(&[behind, front].concat()), whole);
        if !coupons.is_empty() {
            let repeated: Vec<_> = again.iter().map(|i| *i.get(&coupons)).chain(coupons.iter().copied()).collect();
            prop_assert_eq!(registers_of(&repeated), whole);
        }
        for coupon in coupons {
            prop_assert_eq!(Coupon::parse(&coupon.text()), Some(coupon));
        }
    }
}
