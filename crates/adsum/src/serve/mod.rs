//! The running service: which threads there are, how they are started, and how they end.
//!
//! One thread appends, one folds, one merges, and the runtime's threads carry sockets. Invariant: the process ends in
//! this order: sockets, writer, fold, merges; so what was acknowledged is in the log, and a clean end leaves nothing to
//! fold again. A thread that fails ends the process: exit 1.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use adsum_log::{Frame, LogView};
use adsum_model::id::FrameSeq;
use adsum_model::time::ReceivedAt;
use anyhow::{Context, Result, anyhow};
use arc_swap::ArcSwap;
use axum::Router;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{RwLock, mpsc};

use crate::clock::IntakeClock;
use crate::config::Config;
use crate::http::Problem;
use crate::live::Live;
use crate::metadata::{AdminToken, Metadata};
use crate::process::{self, Fold};
use crate::service::Service;
use crate::wire::Home;
use crate::writer::{self, Queues, WriterParts};
use crate::{collect, metadata, report};

/// How a service is started.
pub struct ServeOptions {
    /// Where it listens.
    pub listen: SocketAddr,
    /// The file of the admin token: read, or made with a new one.
    pub token_file: Option<PathBuf>,
    /// The data directory.
    pub data_dir: PathBuf,
}

/// Serves until it is told to stop.
pub fn run(home: Home, config: Arc<Config>, options: ServeOptions) -> Result<()> {
    let token_file = options.token_file.unwrap_or_else(|| options.data_dir.join("admin-token"));
    let admin = AdminToken::of_file(&token_file)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no runtime")?;
    let metadata = runtime.block_on(Metadata::open(&options.data_dir, home.metadata, &config))?;
    let directory = metadata.directory(home.campaigns);
    let catalog = home.pipeline.catalog().clone();
    let last = last_appended(&home.log)?;
    let clock = Arc::new(IntakeClock::start(last, home.pipeline.clocks().is_in_doubt()));
    let log: Arc<dyn LogView> = Arc::from(adsum_log::EventLog::view(&home.log));
    let Home { log: appended, pipeline, secret, lock, .. } = home;
    let store = pipeline.store().clone();
    let queues = Queues::new();
    let (live, ends) = Live::new(pipeline.through().seq);
    let parts = WriterParts {
        log: appended,
        limits: pipeline.limits().clone(),
        catalog: catalog.clone(),
        secret,
        clock: clock.clone(),
        work: queues.work,
        waiting: queues.waiting,
        frames: queues.frames_out,
    };
    let (merges_out, merges_in) = crossbeam_channel::bounded(1);
    let fold = Fold::new(pipeline, queues.frames_in, ends, merges_out);
    let (ended_out, mut ended_in) = mpsc::channel::<()>(THREADS);
    let threads = [
        spawn("writer", ended_out.clone(), move || writer::run(parts))?,
        spawn("fold", ended_out.clone(), move || fold.run())?,
        spawn("merge", ended_out, move || process::merge(&store, &merges_in))?,
    ];
    let writer = queues.writer.clone();
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
        data_dir: options.data_dir,
    });
    let served = runtime.block_on(async {
        metadata::begin(&service, &admin).await?;
        let app: Router = router(&service);
        let listener = tokio::net::TcpListener::bind(options.listen)
            .await
            .with_context(|| format!("cannot listen on {}", options.listen))?;
        let mut terminate = signal(SignalKind::terminate()).context("no signals")?;
        let stop = async move {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
                _ = ended_in.recv() => {}
            }
        };
        writeln!(io::stdout(), "adsum listens on http://{}", listener.local_addr()?)?;
        axum::serve(listener, app).with_graceful_shutdown(stop).await.context("the server failed")?;
        metadata::end(&service).await
    });
    drop(runtime);
    writer.stop();
    let mut result = served;
    for (name, thread) in threads {
        let ended = thread.join().unwrap_or_else(|_| Err(anyhow!("it panicked")));
        result = result.and(ended.with_context(|| format!("the {name} thread ended")));
    }
    drop(lock);
    result
}

/// Every endpoint.
fn router(service: &Arc<Service>) -> Router {
    Router::new()
        .merge(collect::router(service))
        .merge(metadata::router(service))
        .merge(report::router(service))
        // until authentication
        .layer(axum::middleware::from_fn_with_state(service.clone(), principal_until_authentication))
        .with_state(service.clone())
}

/// Whose token it is; what a token may do nobody asks yet.
async fn principal_until_authentication(
    axum::extract::State(service): axum::extract::State<Arc<Service>>,
    mut request: axum::extract::Request,
    next: axum::middleware::Next,
) -> Result<axum::response::Response, Problem> {
    use sha2::Digest;
    let refused = |code| Problem::new(http::StatusCode::UNAUTHORIZED, code, "a valid token is needed");
    let sent = request.headers().get(http::header::AUTHORIZATION).and_then(|v| v.to_str().ok());
    let secret = sent.and_then(|v| v.strip_prefix("Bearer ")).ok_or_else(|| refused("token_missing"))?;
    let directory = service.directory.load();
    let sha256: [u8; 32] = sha2::Sha256::digest(secret).into();
    let token = directory.tokens.get(&sha256).ok_or_else(|| refused("token_unknown"))?;
    if token.expires_at_micros.is_some_and(|at| at <= crate::clock::now().micros()) {
        return Err(refused("token_expired"));
    }
    request.extensions_mut().insert(token.principal.clone());
    Ok(next.run(request).await)
}

const THREADS: usize = 3;

type Thread = (&'static str, std::thread::JoinHandle<Result<()>>);

/// Starts a thread that says when it ends, whatever the reason.
fn spawn(
    name: &'static str,
    ended: mpsc::Sender<()>,
    work: impl FnOnce() -> Result<()> + Send + 'static,
) -> Result<Thread> {
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        let result = work();
        if let Err(error) = &result {
            tracing::error!(thread = name, error = %format!("{error:#}"), "a thread failed; the process ends");
        }
        // The queue has room for every thread's word; who waits for it may be gone.
        let _ = ended.try_send(());
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
