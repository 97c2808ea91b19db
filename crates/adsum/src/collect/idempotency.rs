//! Idempotency keys of collect: a repeated request gets the answer that the first one got.
//!
//! In memory and best effort: after a restart, a day or very many keys a repeated request is appended again, and its
//! events are duplicates. Invariant: of requests with one key and token at most one is under way; a key that did not
//! come to an answer is free again.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hashbrown::HashMap;
use http::{HeaderMap, StatusCode};

use super::answer::Answer;
use crate::clock::Moment;
use crate::http::Problem;

/// The header.
const HEADER: &str = "idempotency-key";
/// The longest key, in characters.
const KEY_CHARS_MAX: usize = 255;
/// So long an answer is kept.
const KEPT_MICROS: u64 = 86_400_000_000;
/// How many answers are kept.
const KEYS_MAX: usize = 100_000;
/// How many bytes of keys and answers are kept; the oldest go first.
const BYTES_MAX: usize = 64 << 20;
/// What a kept key takes beside its text and its answer, in bytes.
const OVERHEAD_BYTES: usize = 200;

/// Token and key.
type Name = (Arc<str>, Arc<str>);

/// The key of a request, if it has one.
pub fn key(headers: &HeaderMap) -> Result<Option<Arc<str>>, Problem> {
    let mut all = headers.get_all(HEADER).iter();
    let Some(first) = all.next() else { return Ok(None) };
    let text = first.to_str().unwrap_or_default();
    let good = (1..=KEY_CHARS_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    if !good || all.next().is_some() {
        let detail = format!("one key of 1 to {KEY_CHARS_MAX} visible ASCII characters");
        return Err(Problem::bad_request("invalid_idempotency_key", detail).about("Idempotency-Key"));
    }
    Ok(Some(text.into()))
}

/// The keys in use.
#[derive(Default)]
pub struct Keys {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    requests: HashMap<Name, Request>,
    /// The answered ones, oldest first.
    answered: VecDeque<(Name, Moment)>,
    bytes: usize,
}

struct Request {
    body: u128,
    answer: Option<Answer>,
}

/// What a key says about a request.
pub enum Begin {
    /// It is new: do it, and say what came of it.
    New(Underway),
    /// It was done before.
    Done(Answer),
}

/// A request with a key that is under way. Dropped without an answer it frees the key.
pub struct Underway {
    keys: Arc<Keys>,
    name: Name,
    body: u128,
}

impl Keys {
    /// Begins a request whose body has this hash.
    pub fn begin(self: &Arc<Self>, token: &Arc<str>, key: Arc<str>, body: u128) -> Result<Begin, Problem> {
        let name = (token.clone(), key);
        let mut state = self.state();
        state.forget(Moment::now());
        match state.requests.get(&name) {
            Some(request) if request.body != body => Err(Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency_key_reused",
                "this key was used with another body; a new request needs a new key",
            )
            .about("Idempotency-Key")),
            Some(Request { answer: Some(answer), .. }) => Ok(Begin::Done(answer.clone())),
            Some(Request { answer: None, .. }) => Err(Problem::new(
                StatusCode::CONFLICT,
                "idempotency_in_flight",
                "a request with this key is under way; send it again in a moment",
            )
            .about("Idempotency-Key")
            .retry_after(1)),
            None => {
                state.requests.insert(name.clone(), Request { body, answer: None });
                Ok(Begin::New(Underway { keys: self.clone(), name, body }))
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Underway {
    /// It came to this answer.
    pub fn done(self, answer: &Answer) {
        let mut state = self.keys.state();
        let now = Moment::now();
        state.bytes += bytes(&self.name, answer);
        state.requests.insert(self.name.clone(), Request { body: self.body, answer: Some(answer.clone()) });
        state.answered.push_back((self.name.clone(), now));
        state.forget(now);
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        let mut state = self.keys.state();
        if state.requests.get(&self.name).is_some_and(|request| request.answer.is_none()) {
            state.requests.remove(&self.name);
        }
    }
}

impl State {
    /// Lets go of what is too old or too much.
    fn forget(&mut self, now: Moment) {
        while let Some((_, answered_at)) = self.answered.front() {
            let old = now.micros_since(*answered_at) > KEPT_MICROS;
            if !old && self.answered.len() <= KEYS_MAX && self.bytes <= BYTES_MAX {
                return;
            }
            let Some((name, _)) = self.answered.pop_front() else { return };
            if let Some(Request { answer: Some(answer), .. }) = self.requests.remove(&name) {
                self.bytes -= bytes(&name, &answer);
            }
        }
    }
}

fn bytes(name: &Name, answer: &Answer) -> usize {
    OVERHEAD_BYTES + name.1.len() + answer.bytes()
}

#[cfg(test)]
mod tests {
    use adsum_model::id::Offset;

    use super::super::answer::Outcome;
    use super::*;

    fn begin(keys: &Arc<Keys>, token: &str, key: &str, body: u128) -> Result<Begin, &'static str> {
        keys.begin(&token.into(), key.into(), body).map_err(|problem| problem.code)
    }

    /// What came of it, in a word.
    fn word(begun: &Result<Begin, &'static str>) -> &'static str {
        match begun {
            Ok(Begin::New(_)) => "new",
            Ok(Begin::Done(_)) => "done",
            Err(code) => code,
        }
    }

    fn answer() -> Answer {
        Outcome::default().answer("ib_1", Offset::ZERO)
    }

    #[test]
    fn one_request_a_key_and_token() {
        let keys = Arc::new(Keys::default());
        let first = begin(&keys, "tk_1", "a", 1);
        assert_eq!(word(&first), "new");
        for (token, key, body, want) in [
            ("tk_1", "a", 1, "idempotency_in_flight"),
            ("tk_1", "a", 2, "idempotency_key_reused"),
            ("tk_2", "a", 2, "new"),
            ("tk_1", "b", 2, "new"),
        ] {
            assert_eq!(word(&begin(&keys, token, key, body)), want, "{token} {key} {body}");
        }
        // One that came to nothing leaves its key free, for any body.
        drop(first);
        let Ok(Begin::New(second)) = begin(&keys, "tk_1", "a", 2) else { panic!("not new") };
        second.done(&answer());
        for (body, want) in [(2, "done"), (1, "idempotency_key_reused")] {
            assert_eq!(word(&begin(&keys, "tk_1", "a", body)), want, "{body}");
        }
        let state = keys.state();
        assert_eq!((state.requests.len(), state.answered.len()), (1, 1));
    }

    #[test]
    fn the_oldest_answers_go_first() {
        let keys = Arc::new(Keys::default());
        for i in 0..=KEYS_MAX {
            let Ok(Begin::New(underway)) = begin(&keys, "tk_1", &i.to_string(), 0) else { panic!("{i} is not new") };
            underway.done(&answer());
        }
        assert_eq!(word(&begin(&keys, "tk_1", "0", 0)), "new");
        assert_eq!(word(&begin(&keys, "tk_1", "1", 0)), "done");
        let mut state = keys.state();
        assert_eq!(state.requests.len(), KEYS_MAX);
        // Bytes are counted out as they were counted in.
        state.bytes += BYTES_MAX;
        state.forget(Moment::now());
        assert_eq!((state.requests.len(), state.bytes), (0, BYTES_MAX));
    }
}
