//! Currency and advertiser of a campaign are fixed once it has events: whether it has some, exactly.
//!
//! Invariant: who asks holds the gate for writing until the change holds, so no event is resolved meanwhile; everything
//! resolved before was queued, and is folded before the answer. A campaign that was never declared has no advertiser
//! yet; its first one is no change.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use adsum_model::table::TableRows;
use adsum_pipeline::CAMPAIGN_CURRENCIES;
use adsum_store::{BucketRange, KeyFilter};
use http::StatusCode;
use tokio::task::block_in_place;

use super::change::{Campaign, Change};
use super::state::State;
use crate::http::Problem;
use crate::live::Want;
use crate::service::Service;

/// A campaign as it is to be, which may be another one than its events were counted for.
#[derive(Clone, Debug)]
pub struct Asked {
    campaign: String,
    currency: String,
    /// It had another advertiser.
    moves: bool,
}

/// The campaigns among the changes whose events matter.
pub fn in_question(state: &State, changes: &[Change]) -> Vec<Asked> {
    let campaigns = changes.iter().filter_map(|change| match change {
        Change::Campaign(it) => Some(it),
        _ => None,
    });
    campaigns.filter_map(|it| ask(it, state.campaigns.get(&it.id).map(|v| &v.last().it))).collect()
}

fn ask(it: &Campaign, old: Option<&Campaign>) -> Option<Asked> {
    let moves = old.is_some_and(|old| old.advertiser != it.advertiser);
    let same = old.is_some_and(|old| old.currency == it.currency) && !moves;
    (!same).then(|| Asked { campaign: it.id.clone(), currency: it.currency.clone(), moves })
}

/// Refuses what would change currency or advertiser of a campaign that has events. The gate is held for writing.
pub async fn check(service: &Service, asked: &[Asked]) -> Result<(), Problem> {
    // An empty frame behind everything that was queued: when it is folded, so is all before it.
    let receipt = service.writer.append(Vec::new(), service.directory.load().revision).await?;
    service.live.folded(receipt.seq).await?;
    let want = Want { tables: vec![CAMPAIGN_CURRENCIES], range: BucketRange::ALL, quarantine: false };
    let snapshot = service.live.snapshot(want).await?;
    let filter = KeyFilter { column: 0, allowed: asked.iter().map(|a| Some(a.campaign.clone())).collect() };
    let extra: Vec<&TableRows> = snapshot.pending[CAMPAIGN_CURRENCIES.index()].iter().collect();
    let mut counted: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let scanned = block_in_place(|| {
        snapshot.view.scan(CAMPAIGN_CURRENCIES, BucketRange::ALL, &[filter], &extra, &mut |row| {
            let text = |column: usize| row.names.text(column, row.keys[column]).unwrap_or_default().to_owned();
            counted.entry(text(0)).or_default().push(text(1));
            ControlFlow::Continue(())
        })
    });
    scanned.map_err(|error| {
        tracing::error!(%error, "the currencies of campaigns cannot be read");
        Problem::internal()
    })?;
    for it in asked {
        let Some(currencies) = counted.get(&it.campaign) else { continue };
        if !currencies.contains(&it.currency) {
            return Err(fixed(it, "currency"));
        }
        if it.moves {
            return Err(fixed(it, "advertiser"));
        }
    }
    Ok(())
}

fn fixed(it: &Asked, param: &'static str) -> Problem {
    let detail = format!("campaign {} has events, and its {param} is fixed since the first of them", it.campaign);
    Problem::new(StatusCode::CONFLICT, "fixed_once_counted", detail).about(param)
}
