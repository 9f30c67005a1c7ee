//! Tampering with the answers of storage servers, knowing what was asked.

use crate::memory_grid::{Passage, Tamper, pass};
use std::collections::BTreeMap;
use std::time::Duration;
use tallac_core::payload::Payload;
use tallac_core::storage::protocol::{StorageAnswer, StorageError, StorageRequest};
use tallac_core::wire::{Frame, Kind, Message};

/// What a server is about to answer.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// Which server.
    pub server: usize,
    /// The number of the question.
    pub id: u64,
    /// What it was asked.
    pub request: StorageRequest,
    /// What it answers.
    pub result: Result<StorageAnswer, StorageError>,
    /// The bulk of its answer.
    pub bulk: Payload,
    /// The answer as sent.
    pub frame: Frame,
}

impl Exchange {
    /// Whether it is the answer to a write to a slot.
    pub fn is_of_a_write(&self) -> bool {
        matches!(&self.request, StorageRequest::ReadTestWrite { shares, .. } if !shares.is_empty())
    }

    /// The answer goes out as it is.
    pub fn honest(&self) -> Vec<Passage> {
        pass(self.frame.clone())
    }

    /// Another answer goes out.
    pub fn answer(&self, answer: StorageAnswer, bulk: &[u8]) -> Vec<Passage> {
        pass(answer_frame(self.id, &answer, bulk))
    }

    /// The server says that it cannot.
    pub fn fail(&self, error: StorageError) -> Vec<Passage> {
        pass(Message::seal(Kind::Failure, self.id, &error, Vec::new()))
    }

    /// The answer goes out late.
    pub fn late(&self, delay: Duration) -> Vec<Passage> {
        vec![Passage::Deliver(delay, self.frame.clone())]
    }

    /// The bytes of the answer.
    pub fn bytes(&self) -> Vec<u8> {
        self.bulk.bytes().expect("real bytes").to_vec()
    }
}

/// An answer as a server would send it.
pub fn answer_frame(id: u64, answer: &StorageAnswer, bulk: &[u8]) -> Frame {
    let bulk = if bulk.is_empty() { Vec::new() } else { vec![bulk.to_vec().into()] };
    Message::seal(Kind::Answer, id, answer, bulk)
}

/// Has a function decide what becomes of each answer of a storage server.
pub struct Liar<F> {
    lie: F,
    asked: BTreeMap<(usize, u64), StorageRequest>,
}

impl<F: FnMut(Exchange) -> Vec<Passage>> Liar<F> {
    /// A liar that lies so.
    pub fn new(lie: F) -> Liar<F> {
        Liar { lie, asked: BTreeMap::new() }
    }
}

impl<F: FnMut(Exchange) -> Vec<Passage>> Tamper for Liar<F> {
    fn frame(&mut self, from: usize, to: usize, frame: Frame) -> Vec<Passage> {
        let message = Message::open(frame.clone()).expect("nodes send messages");
        let id = message.envelope.id;
        match message.envelope.kind {
            Kind::Request => {
                self.asked.insert((to, id), message.body().expect("a request of the storage service"));
                pass(frame)
            }
            kind @ (Kind::Answer | Kind::Failure) => {
                let Some(request) = self.asked.remove(&(from, id)) else { return pass(frame) };
                let result = match kind {
                    Kind::Answer => Ok(message.body().expect("an answer of the storage service")),
                    _ => Err(message.body().expect("an error of the storage service")),
                };
                (self.lie)(Exchange { server: from, id, request, result, bulk: message.bulk, frame })
            }
            _ => pass(frame),
        }
    }
}
