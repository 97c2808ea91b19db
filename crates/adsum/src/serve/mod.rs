//! The running service: which threads there are, how they are started, and how they end.
//!
//! One thread appends, one folds, one merges, and the runtime's threads carry sockets. Invariant: the process ends in
//! this order: sockets, writer, fold, merges; so what was acknowledged is in the log, and a clean end leaves nothing to
//! fold again. A thread that fails ends the process: exit 1.

mod log;
mod signals;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use adsum_log::{Frame, LogView};
use adsum_model::id::FrameSeq;
use adsum_model::time::ReceivedAt;
use anyhow::{Context, Result, anyhow, bail};
use arc_swap::ArcSwap;
use axum::Router;
use tokio::sync::{RwLock, mpsc, watch};

pub use log::LogFormat;

use crate::clock::IntakeClock;
use crate::commit::{WhenFull, commits};
use crate::config::Config;
use crate::http::metrics::{Exporter, UPKEEP_EVERY};
use crate::http::tls::Tls;
use crate::http::{Guard, Stopping, completeness, health, layers, server};
use crate::live::Live;
use crate::metadata::{AdminToken, Metadata};
use crate::process::Fold;
use crate::service::Service;
use crate::wire::Home;
use crate::writer::{self, Queues, WriterParts};
use crate::{collect, import, metadata, operate, report};

/// How a service is started.
pub struct ServeOptions {
    /// Where it listens.
    pub listen: SocketAddr,
    /// The file of the admin token: read, or made with a new one.
    pub token_file: Option<PathBuf>,
    /// The data directory.
    pub data_dir: PathBuf,
    /// How the process logs.
    pub log_format: LogFormat,
    /// What it logs.
    pub log_filter: Option<String>,
}

/// Serves until it is told to stop.
pub fn run(home: Home, config: Arc<Config>, options: ServeOptions) -> Result<()> {
    log::begin(options.log_format, options.log_filter.as_deref())?;
    let token_file = options.token_file.unwrap_or_else(|| options.data_dir.join("admin-token"));
    let admin = AdminToken::of_file(&token_file)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no runtime")?;
    let metadata = runtime.block_on(Metadata::open(&options.data_dir, home.metadata, &config))?;
    let directory = metadata.directory(home.campaigns);
    let catalog = home.pipeline.catalog().clone();
    let last = last_appended(&home.log)?;
    let clock = Arc::new(IntakeClock::start(last, home.pipeline.clocks().is_in_doubt()));
    let log: Arc<dyn LogView> = Arc::from(adsum_log::EventLog::view(&home.log));
    let Home { log: appended, mut pipeline, secret, lock, .. } = home;
    let store = pipeline.store().clone();
    let queues = Queues::new(config.queues);
    let (live, ends) = Live::new(pipeline.through().seq, pipeline.clocks().line());
    let parts = WriterParts {
        log: appended,
        limits: pipeline.limits().clone(),
        catalog: catalog.clone(),
        secret,
        clock: clock.clone(),
        metadata: directory.revision,
        work: queues.work,
        waiting: queues.waiting,
        spares: queues.spares.clone(),
        frames: queues.frames_out,
    };
    let (commits, committer, merger) = commits(WhenFull::Wait);
    pipeline.merge_elsewhere();
    let fold = Fold::new(pipeline, queues.frames_in, queues.spares, ends, commits);
    let committing = store.clone();
    let (ended_out, ended_in) = mpsc::channel::<()>(THREADS);
    let refuser = queues.refuser;
    let threads = [
        spawn("writer", ended_out.clone(), move || writer::run(parts), move || refuser.run())?,
        spawn("fold", ended_out.clone(), move || fold.run(), || {})?,
        spawn("commit", ended_out.clone(), move || committer.run(&committing), || {})?,
        spawn("merge", ended_out, move || merger.run(&store), || {})?,
    ];
    let writer = queues.writer.clone();
    let (stop, stopping) = Stopping::new();
    let served = Guard::new(&config.server, stopping).and_then(|guard| {
        let service = Arc::new(Service {
            catalog,
            config,
            secret,
            clock,
            writer: queues.writer,
            live,
            directory: Arc::new(ArcSwap::from_pointee(directory)),
            metadata: Arc::new(metadata),
            gate: RwLock::new(()),
            log,
            guard,
            data_dir: options.data_dir,
        });
        runtime.block_on(answer(service, &admin, options.listen, stop, ended_in))
    });
    writer.stop();
    let mut result = served;
    for (name, thread) in threads {
        let ended = thread.join().unwrap_or_else(|_| Err(anyhow!("it panicked")));
        result = result.and(ended.with_context(|| format!("the {name} thread ended")));
    }
    // Until here a second signal ends the process; what still runs is nobody's any more.
    runtime.shutdown_timeout(LEFTOVERS);
    drop(lock);
    result
}

/// Opens the socket, says so, and serves until it is told to stop or a thread ends.
async fn answer(
    service: Arc<Service>,
    admin: &AdminToken,
    listen: SocketAddr,
    stop: watch::Sender<bool>,
    ended: mpsc::Receiver<()>,
) -> Result<()> {
    let tls = service.config.server.tls.clone().map(Tls::load).transpose()?.map(Arc::new);
    let app = router(&service)?;
    let listener = tokio::net::TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    let address = format!("{scheme}://{}", listener.local_addr()?);
    metadata::begin(&service, admin, &address).await?;
    signals::listen(stop, ended, tls.clone())?;
    tokio::spawn(completeness::watch(&service.live));
    tokio::spawn(upkeep(service.guard.exporter.clone()));
    writeln!(io::stdout(), "adsum listens on {address}")?;
    let stopping = service.guard.stopping.clone();
    server::serve(listener, app, &service.config.server, tls, stopping).await;
    metadata::end(&service, &address).await
}

async fn upkeep(exporter: Exporter) {
    let mut again = tokio::time::interval(UPKEEP_EVERY);
    loop {
        again.tick().await;
        exporter.upkeep();
    }
}

/// Every endpoint, and what is around each.
fn router(service: &Arc<Service>) -> Result<Router> {
    let routes = health::routes()
        .merge(collect::router(service))
        .merge(metadata::router(service))
        .merge(report::router(service))
        .merge(import::http::router(service))
        .merge(operate::router(service));
    if let Some(endpoint) = routes.unserved().next() {
        bail!("{} {} is an entry of the table of endpoints that nothing serves", endpoint.method, endpoint.path);
    }
    let around = axum::middleware::from_fn_with_state(service.clone(), layers::around);
    Ok(routes.into_router()?.layer(around).with_state(service.clone()))
}

/// How long tasks that are left over may hold up the end.
const LEFTOVERS: Duration = Duration::from_secs(1);
const THREADS: usize = 4;

type Thread = (&'static str, std::thread::JoinHandle<Result<()>>);

/// Starts a thread that says when it ends, whatever the reason; after a failure it does what is left to do.
fn spawn(
    name: &'static str,
    ended: mpsc::Sender<()>,
    work: impl FnOnce() -> Result<()> + Send + 'static,
    after_failure: impl FnOnce() + Send + 'static,
) -> Result<Thread> {
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        let result = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(anyhow!("it panicked")));
        if let Err(error) = &result {
            tracing::error!(thread = name, error = %format!("{error:#}"), "a thread failed; the process ends");
        }
        // The queue has room for every thread's word; who waits for it may be gone.
        let _ = ended.try_send(());
        if result.is_err() {
            after_failure();
        }
        result
    });
    Ok((name, thread.with_context(|| format!("cannot start the {name} thread"))?))
}

/// When the last frame of the log was appended.
fn last_appended(log: &impl LogView) -> Result<Option<ReceivedAt>> {
    let durable = log.durable().seq;
    if durable <= log.start().seq {
        return Ok(None);
    }
    let mut frame = Frame::default();
    let found = log.read(FrameSeq::new(durable.get() - 1))?.next(&mut frame)?;
    Ok(found.then_some(frame.appended_at))
}
