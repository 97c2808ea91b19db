//! The mutations: what must never be removed from the shipped code, and how it is removed.
//!
//! Invariant: each text stands in its file exactly once, so that no change of the code leaves a mutation that mutates
//! nothing. Not here: how they are built and run.

/// A change of one place.
pub struct Edit {
    /// The file, from the root of the repository.
    pub file: &'static str,
    /// What stands there.
    pub text: &'static str,
    /// What stands there instead.
    pub instead: &'static str,
}

/// One promise removed from the shipped code.
pub struct Mutation {
    /// What is removed, in a few words.
    pub name: &'static str,
    /// How.
    pub edits: &'static [Edit],
}

const LOG: &str = "crates/log/src/embedded.rs";
const LOG_LAYOUT: &str = "crates/log/src/layout.rs";
const LOG_OPEN: &str = "crates/log/src/open.rs";
const STORE: &str = "crates/store/src/embedded.rs";
const STORE_FILE: &str = "crates/store/src/file.rs";
const CLOCK: &str = "crates/engine/src/clock.rs";
const FOLD: &str = "crates/engine/src/fold.rs";
const COMMIT: &str = "crates/pipeline/src/commit.rs";
const LOOP: &str = "crates/pipeline/src/step.rs";
const LIMITS: &str = "crates/pipeline/src/limits.rs";

/// Those that the test command tries too: one of the log, one of the commit.
pub const SMALL: [&str; 2] = ["fsync of a frame", "dedupe records in a checkpoint"];

/// Every mutation.
pub const MUTATIONS: &[Mutation] = &[
    Mutation {
        name: "fsync of a frame",
        edits: &[Edit {
            file: LOG,
            text: "if let Err(error) = active.file.sync() {\n            return Err(self.poison(\"the sync of a frame\", &error));\n        }",
            instead: "",
        }],
    },
    Mutation {
        name: "fsync of a frame before its acknowledgement (it comes with the next frame)",
        edits: &[
            Edit {
                file: LOG,
                text: "if let Err(error) = active.file.sync() {\n            return Err(self.poison(\"the sync of a frame\", &error));\n        }",
                instead: "",
            },
            Edit {
                file: LOG,
                text: "let durable = self.view.durable();\n        if self.active",
                instead: "if let Some(Err(error)) = self.active.as_mut().map(|a| a.file.sync()) {\n            return Err(self.poison(\"the sync of a frame\", &error));\n        }\n        let durable = self.view.durable();\n        if self.active",
            },
        ],
    },
    Mutation {
        name: "end of the process after a failed fsync (it goes on)",
        edits: &[Edit {
            file: LOG,
            text: "return Err(self.poison(\"the sync of a frame\", &error));",
            instead: "let _ = error;",
        }],
    },
    Mutation {
        name: "fsync of a new segment",
        edits: &[Edit { file: LOG, text: "file.sync().map_err(MakeError::Unsynced)?;\n", instead: "" }],
    },
    Mutation {
        name: "directory fsync of the log",
        edits: &[Edit {
            file: LOG,
            text: "disk.sync_dir(dir).map_err(MakeError::Unsynced)?;\n    Ok(file)",
            instead: "Ok(file)",
        }],
    },
    Mutation {
        name: "checksum of a frame's body",
        edits: &[Edit {
            file: LOG_LAYOUT,
            text: "if section_crc(binding, &blocks[start..payload.end]) != u32_at(blocks, payload.end) {",
            instead: "if false {",
        }],
    },
    Mutation {
        name: "checksum of a frame's header",
        edits: &[Edit {
            file: LOG_LAYOUT,
            text: "if crc32fast::hash(&bytes[..84]) != u32_at(bytes, 84) {",
            instead: "if false {",
        }],
    },
    Mutation {
        name: "new writing of frames that nothing proves durable",
        edits: &[Edit { file: LOG_OPEN, text: "if unproven < scan.frames.len() {", instead: "if false {" }],
    },
    Mutation {
        name: "fsync of a run",
        edits: &[Edit {
            file: STORE_FILE,
            text: "self.file.sync().map_err(|e| StoreError::poisoned(&self.name, &e))?;\n",
            instead: "",
        }],
    },
    Mutation {
        name: "directory fsync of the store's runs",
        edits: &[Edit {
            file: STORE,
            text: "if keys.is_some() || rows.is_some() || quarantine.is_some() {\n            self.sync_dir()?;\n        }",
            instead: "",
        }],
    },
    Mutation {
        name: "fsync of the manifest",
        edits: &[Edit { file: STORE, text: "file.sync().map_err(poisoned)?;\n", instead: "" }],
    },
    Mutation {
        name: "directory fsync of the manifest",
        edits: &[Edit { file: STORE, text: "    disk.sync_dir(dir).map_err(poisoned)\n}", instead: "    Ok(())\n}" }],
    },
    Mutation {
        name: "order of the commit: runs synced, then the manifest renamed (the other way round)",
        edits: &[
            Edit {
                file: STORE_FILE,
                text: "self.file.sync().map_err(|e| StoreError::poisoned(&self.name, &e))?;\n",
                instead: "",
            },
            Edit {
                file: STORE,
                text: "write_manifest(&*self.disk, &self.dir, &state.manifest())?;\n",
                instead: "write_manifest(&*self.disk, &self.dir, &state.manifest())?;\n            for (kind, id) in &made {\n                let name = kind.file_name(*id);\n                let synced = self.disk.open(&self.dir.join(&name), Open::Write).and_then(|mut f| f.sync());\n                synced.map_err(|e| StoreError::poisoned(&name, &e))?;\n            }\n",
            },
        ],
    },
    Mutation {
        name: "checksum of a run's blocks",
        edits: &[Edit { file: STORE_FILE, text: "if crc32fast::hash(bytes) == crc {", instead: "if crc == crc {" }],
    },
    Mutation {
        name: "checksum of the manifest",
        edits: &[Edit {
            file: "crates/store/src/manifest.rs",
            text: "if crc32fast::hash(body) != u32::from_le_bytes(*crc) {",
            instead: "if crc.is_empty() {",
        }],
    },
    Mutation {
        name: "dedupe records in a checkpoint",
        edits: &[Edit {
            file: STORE,
            text: "let keys = dedupe::flush(disk, dir, id, &checkpoint.dedupe)?;",
            instead: "let keys: Option<KeysRun> = None;",
        }],
    },
    Mutation {
        name: "cells in a checkpoint",
        edits: &[Edit {
            file: COMMIT,
            text: "checkpoint.rows[shard_table(i).index()].push(rows);",
            instead: "let _ = (i, rows);",
        }],
    },
    Mutation {
        name: "quarantine in a checkpoint",
        edits: &[Edit {
            file: STORE,
            text: "quarantine::flush(disk, dir, id, &checkpoint.quarantined, &checkpoint.released)?",
            instead: "quarantine::flush(disk, dir, id, &[], &checkpoint.released)?",
        }],
    },
    Mutation {
        name: "releases from quarantine in a checkpoint",
        edits: &[Edit {
            file: STORE,
            text: "quarantine::flush(disk, dir, id, &checkpoint.quarantined, &checkpoint.released)?",
            instead: "quarantine::flush(disk, dir, id, &checkpoint.quarantined, &[])?",
        }],
    },
    Mutation {
        name: "clocks and imports in a checkpoint",
        edits: &[Edit {
            file: STORE,
            text: "small: checkpoint.small.clone(),",
            instead: "small: SmallState::default(),",
        }],
    },
    Mutation {
        name: "values seen per dimension in a checkpoint",
        edits: &[Edit {
            file: COMMIT,
            text: "let days = self.limits.rows(self.revision);",
            instead: "let days = TableRows::new(2, 1);",
        }],
    },
    Mutation {
        name: "position in the manifest (one checkpoint behind)",
        edits: &[Edit {
            file: STORE,
            text: "committed = Committed { through, revision, dedupe_line, small, tables: committed.tables };",
            instead: "committed = Committed { through: base, revision, dedupe_line, small, tables: committed.tables };\n                let _ = through;",
        }],
    },
    Mutation {
        name: "look-up of keys on the disk",
        edits: &[Edit {
            file: LOOP,
            text: "store.lookup(&lookups.keys, &mut prior.records)?;",
            instead: "prior.records = vec![None; lookups.keys.len()];",
        }],
    },
    Mutation {
        name: "order of the loop: keys, then their look-up (the other way round)",
        edits: &[Edit {
            file: LOOP,
            text: "shard.keys(batches, lookups);\n    store.lookup(&lookups.keys, &mut prior.records)?;",
            instead: "store.lookup(&lookups.keys, &mut prior.records)?;\n    shard.keys(batches, lookups);",
        }],
    },
    Mutation {
        name: "content hash: a conflict is no duplicate",
        edits: &[Edit {
            file: FOLD,
            text: "Some(first) if first.content == row.content => Outcome::Duplicate,",
            instead: "Some(_) if row.key == row.key => Outcome::Duplicate,",
        }],
    },
    Mutation {
        name: "end of a key below the acceptance line",
        edits: &[Edit {
            file: FOLD,
            text: "line.is_some_and(|line| first.occurred_at < line) => Outcome::First,",
            instead: "line.is_some_and(|_| false) => Outcome::First,",
        }],
    },
    Mutation {
        name: "line up to which a merge drops ended keys (20 s too high)",
        edits: &[Edit {
            file: STORE,
            text: "dedupe_line: checkpoint.dedupe_line.max(state.committed.dedupe_line),",
            instead: "dedupe_line: EventTime::from_micros(checkpoint.dedupe_line.micros().saturating_add(20_000_000)),",
        }],
    },
    Mutation {
        name: "min with receivedAt in the watermark",
        edits: &[Edit {
            file: CLOCK,
            text: "EventTime::from_micros(occurred_at.micros().min(received_at.micros()));",
            instead: "occurred_at;\n        let _ = received_at;",
        }],
    },
    Mutation {
        name: "min with the append in the watermark",
        edits: &[Edit {
            file: CLOCK,
            text: "let latest = latest.min(EventTime::from_micros(appended_at.micros()));",
            instead: "",
        }],
    },
    Mutation {
        name: "watermark never moves back",
        edits: &[Edit {
            file: CLOCK,
            text: "self.watermark = self.watermark.max(behind(latest));",
            instead: "self.watermark = behind(latest);",
        }],
    },
    Mutation {
        name: "acceptance line refuses what is too old",
        edits: &[Edit {
            file: FOLD,
            text: "} else if row.occurred_at < context.line {",
            instead: "} else if row.occurred_at < context.line.min(EventTime::from_micros(i64::MIN)) {",
        }],
    },
    Mutation {
        name: "acceptance line never moves back",
        edits: &[Edit {
            file: CLOCK,
            text: "self.line = self.line.max(EventTime::from_micros(at.saturating_sub(self.rules.horizon_micros)));",
            instead: "self.line = EventTime::from_micros(at.saturating_sub(self.rules.horizon_micros));",
        }],
    },
    Mutation {
        name: "min with receivedAt in the acceptance line",
        edits: &[Edit {
            file: CLOCK,
            text: "let at = self.watermark.micros().min(appended_at.micros());",
            instead: "let at = self.watermark.micros();\n        let _ = appended_at;",
        }],
    },
    Mutation {
        name: "ticks stand still in a clock doubt",
        edits: &[Edit {
            file: CLOCK,
            text: "        if self.in_doubt {\n            return;\n        }\n        let idle",
            instead: "        let idle",
        }],
    },
    Mutation {
        name: "mark of a folded value in the record",
        edits: &[Edit {
            file: LIMITS,
            text: "batch.heads[rows.events[i].ordinal as usize].stamp.folded |= 1 << d;",
            instead: "let _ = &batch.heads;",
        }],
    },
];
