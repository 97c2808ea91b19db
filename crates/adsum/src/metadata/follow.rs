//! Following the log: the metadata records from a position on, in batches.
//!
//! Invariant: every metadata record of the log is one revision, counted from 1 in log order, so reading the log again
//! numbers each change as it was. Not here: what becomes of the changes (the store of [`super::sqlite`]).

use adsum_log::{Frame, LogView};
use adsum_model::catalog::Catalog;
use adsum_model::record::RecordKind;
use anyhow::{Result, bail};

use super::change::Numbered;
use super::sqlite::Sqlite;

/// How many changes are taken over at a time.
const CHANGES_MAX: usize = 10_000;

/// Brings the store up to `revision`, the last one in the log. A log is read only as far as there is something to find.
/// Reading blocks: call it where that is allowed.
pub async fn catch_up(sqlite: &mut Sqlite, log: &dyn LogView, catalog: &Catalog, revision: u64) -> Result<()> {
    let durable = log.durable().seq;
    let mut applied = sqlite.applied().await?;
    if applied.revision > revision || applied.frame > durable {
        bail!(
            "{} knows {} changes up to frame {}, the log has {revision} up to frame {}: it is of another log; take it \
             away, and it is made again",
            super::sqlite::FILE,
            applied.revision,
            applied.frame.get(),
            durable.get()
        );
    }
    let mut changes = Vec::new();
    if applied.revision < revision {
        let mut reader = log.read(applied.frame)?;
        let mut frame = Frame::default();
        while applied.revision < revision {
            if !reader.next(&mut frame)? {
                bail!("the ledger counts {revision} changes of the metadata, the log has {}", applied.revision);
            }
            for head in frame.records.heads.iter().filter(|h| h.kind == RecordKind::Metadata) {
                applied.revision += 1;
                changes.push(Numbered::read(applied.revision, &frame.records, head, catalog)?);
            }
            applied.frame = frame.seq.plus(1);
            if changes.len() >= CHANGES_MAX {
                sqlite.follow(&changes, applied.frame).await?;
                changes.clear();
            }
        }
    }
    if applied.revision != revision {
        bail!("the ledger counts {revision} changes of the metadata, the log has {}", applied.revision);
    }
    // What lies between the last change and here has none.
    sqlite.follow(&changes, durable).await?;
    Ok(())
}
