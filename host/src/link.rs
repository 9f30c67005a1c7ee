//! A connection shared by the machine's thread, the reader and the writer of its socket.

use crate::buffer::{ReadBuffer, WriteBuffer};
use crate::connection::{Connection, Order, Reading, Writing};
use std::fmt;
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use tallac_core::machine::{CloseReason, ConnId, Event, Protocol};

/// What a runtime's sockets and waiting are made of.
pub trait Medium: 'static {
    /// A connected TCP socket.
    type Socket: Send + Sync;
    /// Something to wait for: the reader and the writer of a link have one each.
    type Signal: Default + Send + Sync;

    /// Ends the waiting. If nobody waits, the next to wait does not.
    fn raise(signal: &Self::Signal);

    /// Shuts a socket down in the directions given. Reads and writes under way return.
    fn shutdown(socket: &Self::Socket, how: Shutdown);
}

/// A connection and its socket.
///
/// The machine's thread only leaves orders here. The reader and the writer take them when they
/// come to it; the lock they share is held while bytes are worked on, never while they wait.
pub struct Link<M: Medium> {
    id: ConnId,
    protocol: Protocol,
    orders: Mutex<Vec<Order>>,
    connection: Mutex<Connection>,
    socket: OnceLock<M::Socket>,
    over: AtomicBool,
    /// What the reader waits for.
    pub reader: M::Signal,
    /// What the writer waits for.
    pub writer: M::Signal,
}

impl<M: Medium> Link<M> {
    /// A link without a socket yet.
    pub fn new(connection: Connection) -> Link<M> {
        Link {
            id: connection.id(),
            protocol: connection.protocol(),
            orders: Mutex::default(),
            connection: Mutex::new(connection),
            socket: OnceLock::new(),
            over: AtomicBool::new(false),
            reader: M::Signal::default(),
            writer: M::Signal::default(),
        }
    }

    /// The connection's number.
    pub fn id(&self) -> ConnId {
        self.id
    }

    /// What the connection speaks, if it comes to be.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Leaves an order.
    pub fn order(&self, order: Order) {
        let signal = match &order {
            Order::Grant(_) => &self.reader,
            Order::Send(_) | Order::SendBytes(_) | Order::Close => &self.writer,
        };
        lock(&self.orders).push(order);
        M::raise(signal);
    }

    /// Gives the link its socket. `None` if the link was ended before.
    pub fn attach(&self, socket: M::Socket) -> Option<&M::Socket> {
        let socket = self.socket.get_or_init(|| socket);
        if self.is_over() {
            M::shutdown(socket, Shutdown::Both);
            return None;
        }
        Some(socket)
    }

    /// The socket, if the link has one.
    pub fn socket(&self) -> Option<&M::Socket> {
        self.socket.get()
    }

    /// Ends the link at once: its reader and writer come back from wherever they wait.
    pub fn end(&self) {
        self.over.store(true, Ordering::SeqCst);
        self.shutdown(Shutdown::Both);
        M::raise(&self.reader);
        M::raise(&self.writer);
    }

    /// Whether the link was ended.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    /// Whether the machine may know of the connection.
    pub fn is_open(&self) -> bool {
        lock(&self.connection).is_open()
    }

    /// For the reader: see [`Connection::receive`].
    pub fn receive(&self, read: &mut ReadBuffer, events: &mut Vec<Event>) -> Result<Reading, CloseReason> {
        let mut connection = self.connection();
        let reading = connection.receive(read, events);
        if connection.wants_control() {
            M::raise(&self.writer);
        }
        reading
    }

    /// For the reader: the socket gives nothing more, because it ended or because it broke.
    pub fn end_input(&self, broken: Option<CloseReason>) {
        let mut connection = self.connection();
        connection.end_input();
        if let Some(reason) = broken {
            connection.break_down(reason);
        }
    }

    /// For the writer: see [`Connection::send`].
    pub fn send(&self, batch: &mut WriteBuffer) -> Result<Writing, CloseReason> {
        let writing = self.connection().send(batch);
        if writing == Ok(Writing::Over) {
            // From now on the reader throws away what comes in.
            M::raise(&self.reader);
        }
        writing
    }

    /// For the writer: the socket takes nothing more. The reader delivers what has come in and
    /// reports the end.
    pub fn end_output(&self, reason: CloseReason) {
        self.connection().break_down(reason);
        self.shutdown(Shutdown::Both);
        M::raise(&self.reader);
    }

    /// For who makes the handshake: see [`Connection::turn_away`].
    pub fn turn_away(&self, batch: &mut WriteBuffer) {
        self.connection().turn_away(batch);
    }

    /// Shuts the socket down, if there is one.
    pub fn shutdown(&self, how: Shutdown) {
        if let Some(socket) = self.socket.get() {
            M::shutdown(socket, how);
        }
    }

    /// The connection, all orders taken.
    fn connection(&self) -> MutexGuard<'_, Connection> {
        let mut connection = lock(&self.connection);
        // Both locks are held, so that nobody else's orders get in between.
        lock(&self.orders).drain(..).for_each(|order| connection.order(order));
        connection
    }
}

impl<M: Medium> fmt::Debug for Link<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("id", &self.id).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Who panicked with the lock held has ended the run already.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
