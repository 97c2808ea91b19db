//! The report's question: a query string, read and checked as over HTTP, planned and answered from a small store.
//!
//! Invariant: a question is refused by name or answered; never is it a failure of ours. An answer's rows come in order,
//! each once, and add up to what a naive sum over the cells says, of no campaign but those that the token may see; a
//! cursor behind any row is read back for the same question. Not here: sockets, and how answers are written.
#![no_main]
#![allow(dead_code, reason = "the report's sources, taken in below, can more than is asked here")]

// The report belongs to the binary, which has no library: what it exports is nobody's to depend on. Its sources name
// one another as siblings, so that they stand here as they stand there.
#[path = "../../crates/adsum/src/report/columns.rs"]
mod columns;
#[path = "../../crates/adsum/src/report/cursor.rs"]
mod cursor;
#[path = "../../crates/adsum/src/report/params.rs"]
mod params;
#[path = "../../crates/adsum/src/http/problem.rs"]
mod problem;
#[path = "../../crates/adsum/src/report/query.rs"]
mod query;
#[path = "../../crates/adsum/src/report/refused.rs"]
mod refused;
#[path = "../../crates/adsum/src/report/request.rs"]
mod request;
#[path = "../../crates/adsum/src/report/window.rs"]
mod window;

mod http {
    //! Where the report's sources look for it.
    pub use crate::problem::Problem;
}

use std::ops::ControlFlow;
use std::sync::OnceLock;

use adsum_model::catalog::{Catalog, CatalogSpec, RollupIx};
use adsum_model::id::{FrameSeq, Offset, Position, Revision};
use adsum_model::state::{Checkpoint, SmallState};
use adsum_model::table::TableRows;
use adsum_model::time::{BucketStart, EventTime, MICROS_MAX, MICROS_MIN, MICROS_PER_SECOND};
use adsum_pipeline::{rollup_table, schemas};
use adsum_store::{AggregateStore, MemoryStore};
use anyhow::Result;
use cursor::{Cursor, Order};
use libfuzzer_sys::fuzz_target;
use params::Params;
use query::{Budget, Complete, Query, plan};
use refused::Refused;
use request::{Request, Scope};

/// What one input may cost in memory.
const MEMORY_MAX_BYTES: usize = 32 << 20;
/// The longest query that the server reads stands in a header of so many bytes.
const QUERY_BYTES_MAX: usize = 16 << 10;
/// Of answers with more rows the first so many are looked at.
const ROWS_MAX: usize = 500;

/// One cell: bucket, a value for each dimension of the catalog and the currency, the metrics.
struct Cell {
    bucket: i64,
    values: Vec<Option<String>>,
    currency: &'static str,
    sums: Vec<i64>,
}

struct Fixture {
    catalog: Catalog,
    cells: Vec<Cell>,
    store: MemoryStore,
}

/// Minutes around changes of clocks, ends of days and of years, before 1970 and at both ends of time, with few campaigns
/// and countries.
fn fixture() -> &'static Fixture {
    static FIXTURE: OnceLock<Fixture> = OnceLock::new();
    FIXTURE.get_or_init(|| {
        let catalog = Catalog::build(&CatalogSpec::default()).expect("the default catalog");
        // 2026-11-20, 2026-03-29, 2026-10-25, 2011-12-29, 1969-12-31, 2024-02-29, 2025-12-31: midnight UTC.
        let days = [1_795_132_800, 1_774_742_400, 1_792_886_400, 1_325_116_800, -86_400, 1_709_164_800, 1_767_139_200];
        let ends = [MICROS_MIN / MICROS_PER_SECOND, (MICROS_MAX + 1) / MICROS_PER_SECOND - 86_400];
        let mut cells = Vec::new();
        for (d, day) in days.into_iter().chain(ends).enumerate() {
            for i in 0..12 {
                let bucket = day + [0, 60, 3_540, 3_600, 5_400, 44_100, 66_600, 86_340][i % 8];
                let value = |name: &str| match name {
                    "campaignId" => [Some("camp_1"), Some("camp_2"), None, Some("=1+1")][(i + d) % 4],
                    "country" => [Some("US"), Some("DE"), None][i % 3],
                    _ => (i % 2 == 0).then_some("x"),
                };
                let values = catalog.dimensions().iter().map(|d| value(&d.name).map(str::to_owned)).collect();
                let sums = (0..catalog.columns().len()).map(|c| (i * 7 + c + d) as i64).collect();
                cells.push(Cell { bucket, values, currency: ["USD", "EUR"][i % 2], sums });
            }
        }
        let store = MemoryStore::new(schemas(&catalog), catalog.symbols().clone()).expect("the catalog's tables");
        let mut rows: Vec<Vec<TableRows>> = schemas(&catalog).iter().map(|_| Vec::new()).collect();
        let symbol = |text: Option<&str>| {
            text.map_or(adsum_model::symbol::Symbol::NULL, |text| catalog.symbols().intern(text.as_bytes()))
        };
        for (i, rollup) in catalog.rollups().iter().enumerate() {
            let mut table = TableRows::new(rollup.dimensions.len() + 1, catalog.columns().len());
            for cell in &cells {
                let values = rollup.dimensions.iter().map(|d| cell.values[d.index()].as_deref());
                let key: Vec<_> = values.chain([Some(cell.currency)]).map(symbol).collect();
                table.push(BucketStart::from_seconds(cell.bucket), &key, &cell.sums, Revision::new(1));
            }
            rows[rollup_table(RollupIx::new(i)).index()].push(table);
        }
        let checkpoint = Checkpoint {
            through: Position { seq: FrameSeq::new(1), offset: Offset::new(1) },
            revision: Revision::new(1),
            dedupe_line: EventTime::from_micros(i64::MIN),
            rows,
            small: SmallState::default(),
            ..Checkpoint::default()
        };
        let written = store.write(&checkpoint).expect("rows of the tables");
        store.publish(written).expect("nothing was published before");
        Fixture { catalog, cells, store }
    })
}

/// The cells that a question is about, added up.
fn naive(fixture: &Fixture, query: &Query) -> Vec<i64> {
    let mut sums = vec![0; fixture.catalog.columns().len()];
    for cell in fixture.cells.iter().filter(|c| query.range().contains(BucketStart::from_seconds(c.bucket))) {
        let passes = |(name, allowed): &(String, Vec<Option<String>>)| {
            let dimension = fixture.catalog.dimension_named(name).expect("a planned question names dimensions");
            allowed.contains(&cell.values[dimension.index()])
        };
        if query.filters.iter().all(passes) {
            sums.iter_mut().zip(&cell.sums).for_each(|(to, from)| *to += from);
        }
    }
    sums
}

fn ask(text: &str, bucket_seconds: i64, scope: &Scope) -> Result<()> {
    let fixture = fixture();
    let request = Request::read(Params::parse(Some(text))?, bucket_seconds, &["campaignId"], scope)?;
    let (from, to) = (request.query.from.expect("a beginning"), request.query.to.expect("an end"));
    assert!(from < to && to.seconds() - from.seconds() <= (5 * 366 + 1) * 86_400, "a bounded range");
    let view = fixture.store.view();
    let planned = plan(&fixture.catalog, &Complete::of(&*view), request.query.clone())?;
    let order = Order::of(request.order_by.as_ref(), &planned.report)?;
    let query = planned.query().clone();
    let campaign = query.by.iter().position(|name| name == "campaignId");
    let mut sums = vec![0; fixture.catalog.columns().len()];
    let mut last: Option<(window::Window, Vec<Option<String>>)> = None;
    let mut shown = 0;
    planned.run(&*view, &[], Budget::UNBOUNDED, &mut |row| {
        sums.iter_mut().zip(row.values).for_each(|(to, from)| *to += from);
        let place = (row.window, row.keys.iter().map(|k| k.map(str::to_owned)).collect::<Vec<_>>());
        assert!(last.as_ref().is_none_or(|last| *last < place), "rows in order, each once: {last:?} {place:?}");
        if let (Scope::Campaigns(mine), Some(at)) = (scope, campaign) {
            assert!(place.1[at].as_ref().is_some_and(|id| mine.contains(id)), "somebody else's row");
        }
        if shown < 4 {
            let cursor = Cursor::new(&query, request.order_by.as_ref(), Revision::new(1), order.place(row));
            let read = Cursor::read(&cursor.to_string(), &query, request.order_by.as_ref());
            assert_eq!(read.expect("an answer's own cursor"), cursor);
        }
        last = Some(place);
        shown += 1;
        Ok(if shown < ROWS_MAX { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    })?;
    assert!(shown == ROWS_MAX || sums == naive(fixture, &query), "another sum: {query:?}");
    Ok(())
}

fuzz_target!(|data: &[u8]| {
    let [control, text @ ..] = data else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    if text.len() > QUERY_BYTES_MAX {
        return;
    }
    let scope = match control % 3 {
        0 => Scope::All,
        1 => Scope::Campaigns(vec!["camp_1".to_owned(), "=1+1".to_owned()]),
        _ => Scope::Campaign("camp_2".to_owned()),
    };
    let bucket_seconds = [60, 10][usize::from(control / 3 % 2)];
    let outcome = adsum_fuzz::within(MEMORY_MAX_BYTES, || ask(text, bucket_seconds, &scope));
    if let Err(error) = outcome {
        let refused = error.downcast::<Refused>().unwrap_or_else(|error| panic!("no refusal but {error:#}"));
        assert!(!refused.code.is_empty() && !refused.detail.is_empty());
    }
});
