//! What is excused from a rule, and why.
//!
//! Invariant: each entry has a reason and still excuses something (`check` reports one that does not).

/// An excuse.
pub struct Allowed {
    /// The rule's name.
    pub rule: &'static str,
    /// A file, or a folder with its closing `/`, from the root of the repository.
    pub under: &'static str,
    /// Why the rule does not fit there.
    pub reason: &'static str,
}

pub const ALLOWED: &[Allowed] = &[
    Allowed {
        rule: "clocks-in-clock",
        under: "crates/log/examples/",
        reason: "measures the speed of the log; nothing of it ships",
    },
    Allowed {
        rule: "clocks-in-clock",
        under: "crates/model/examples/",
        reason: "measures the speed of the decoder; nothing of it ships",
    },
    Allowed {
        rule: "clocks-in-clock",
        under: "crates/store/examples/",
        reason: "measures the speed of the store; nothing of it ships",
    },
    Allowed {
        rule: "clocks-in-clock",
        under: "crates/adsum/tests/cli/http/visible.rs",
        reason: "measures how soon an event is in a report, which is a promise in seconds",
    },
    Allowed {
        rule: "no-floats",
        under: "crates/log/examples/",
        reason: "prints nanoseconds an event; counts nothing that is served",
    },
    Allowed {
        rule: "no-floats",
        under: "crates/model/src/distinct.rs",
        reason: "estimates distinct users with formulas over the reals; no count and no money comes from it",
    },
    Allowed {
        rule: "wire-names",
        under: "crates/adsum/src/writer/tests.rs",
        reason: "drives the writer's thread over a log in memory; nothing of it ships",
    },
];
