//! The writer over a log in memory: what is queued comes out whole, in order, each with its place.

use adsum_log::{EventLog, MemoryLog};
use adsum_model::campaigns::{Campaigns, UnknownCampaign};
use adsum_model::catalog::Catalog;
use adsum_model::hash::Secret;
use adsum_model::record::Stream;
use adsum_model::wire::{Decoder, Intake};
use adsum_pipeline::Limits;

use super::*;
use crate::clock::IntakeClock;

#[test]
fn what_was_queued_before_the_word_to_stop_is_written() {
    let catalog = Arc::new(Catalog::build(&Default::default()).unwrap());
    let campaigns = Campaigns::build(&[], "USD", UnknownCampaign::LetThrough, catalog.symbols()).unwrap();
    let secret = Secret::new([7; 16]);
    let mut decoder = Decoder::new(catalog.clone(), Arc::new(campaigns), secret);
    let clock = Arc::new(IntakeClock::start(None, false));
    let mut decode = |id: u32| {
        let line = format!(
            r#"{{"eventId":"e{id}","eventType":"click","occurredAt":"2026-11-21T08:00:00Z","campaignId":"c"}}"#
        );
        let source = catalog.symbols().intern(b"web");
        let intake = Intake { source, stream: Stream::Live, received_at: clock.now() };
        let mut decoded = Decoded::default();
        decoder.decode_lines(line.into_bytes(), &intake, &mut decoded);
        decoded
    };
    // Metadata revisions of the pieces of work; how many come before the word to stop; how many frames they make.
    for (revisions, before, frames) in
        [(vec![0, 0, 0], 3, 1), (vec![0, 0, 0], 1, 2), (vec![0, 1, 1, 2], 4, 3), (vec![0, 1], 0, 2), (vec![], 0, 0)]
    {
        let queues = Queues::new(QueueBounds::default());
        let log = MemoryLog::new();
        let view = log.view();
        let mut answers = Vec::new();
        for (i, revision) in revisions.iter().enumerate() {
            if i == before {
                queues.writer.stop();
            }
            let work = vec![decode(i as u32)];
            answers.push(queues.writer.submit(work, MetadataRevision::new(*revision)).unwrap());
        }
        queues.writer.stop();
        run(WriterParts {
            log,
            limits: Limits::new(catalog.clone()),
            catalog: catalog.clone(),
            secret,
            clock: clock.clone(),
            metadata: MetadataRevision::ZERO,
            work: queues.work,
            waiting: queues.waiting,
            spares: queues.spares,
            frames: queues.frames_out,
        })
        .unwrap();
        for (i, answer) in answers.into_iter().enumerate() {
            let receipt = answer.blocking_recv().unwrap().unwrap();
            assert_eq!(receipt.base, Offset::new(i as u64), "{revisions:?} {before}");
        }
        assert_eq!(queues.frames_in.try_iter().count(), frames, "{revisions:?} {before}");
        assert_eq!(view.durable().offset.get(), revisions.len() as u64);
    }
}

#[test]
fn after_a_failure_nobody_waits_for_ever() {
    let queues = Queues::new(QueueBounds::default());
    let writer = queues.writer.clone();
    // The thread has failed and takes nothing; what is queued then is answered all the same.
    drop(queues.work);
    let refuser = std::thread::spawn(move || queues.refuser.run());
    let waiting = writer.submit(Vec::new(), MetadataRevision::default()).unwrap();
    assert_eq!(waiting.blocking_recv(), Ok(Err(Refusal::Failed)));
    writer.stop();
    refuser.join().unwrap();
}
