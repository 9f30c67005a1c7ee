//! The threads that wait for sockets.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use tallac_core::limits::ADDRESSES_MAX;
use tallac_core::machine::{CloseReason, Event};
use tallac_core::nurl::Address;
use tallac_host::buffer::{ReadBuffer, WriteBuffer};
use tallac_host::connection::{Reading, Writing};
use tallac_host::drive::Input;
use tallac_host::link::{Link, Medium};
use tallac_host::links::Links;
use tallac_host::setup::ListenerKind;

/// How long to leave a listener alone that cannot accept, for want of file descriptors usually.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Blocking sockets, and threads that wait.
pub(crate) enum Threads {}

impl Medium for Threads {
    type Socket = TcpStream;
    type Signal = Signal;

    fn raise(signal: &Signal) {
        *lock(&signal.raised) = true;
        signal.changed.notify_one();
    }

    fn shutdown(socket: &TcpStream, how: Shutdown) {
        // It fails if the other side was faster.
        let _ = socket.shutdown(how);
    }
}

/// Something that one thread waits for.
#[derive(Default)]
pub(crate) struct Signal {
    raised: Mutex<bool>,
    changed: Condvar,
}

impl Signal {
    fn wait(&self) {
        let raised = self.changed.wait_while(lock(&self.raised), |raised| !*raised);
        *raised.unwrap_or_else(PoisonError::into_inner) = false;
    }

    fn wait_at_most(&self, time: Duration) {
        let raised = self.changed.wait_timeout_while(lock(&self.raised), time, |raised| !*raised);
        *raised.unwrap_or_else(PoisonError::into_inner).0 = false;
    }
}

/// What all threads of a node share. The last one to let go of it tells [`crate::run`].
pub(crate) struct Hub {
    links: Links<Threads>,
    inputs: Sender<Input<Threads>>,
    listening: Mutex<Vec<SocketAddr>>,
    _gone: Sender<()>,
}

impl Hub {
    pub(crate) fn new(links: Links<Threads>, inputs: Sender<Input<Threads>>) -> (Arc<Hub>, Receiver<()>) {
        let (_gone, gone) = mpsc::channel();
        (Arc::new(Hub { links, inputs, listening: Mutex::default(), _gone }), gone)
    }

    /// Accepts connections from now on.
    pub(crate) fn listen(self: &Arc<Hub>, listener: TcpListener, kind: ListenerKind) {
        lock(&self.listening).extend(listener.local_addr());
        let hub = self.clone();
        let accept = move || {
            while !hub.links.is_stopping() {
                match listener.accept() {
                    Ok((socket, from)) => hub.accept(socket, from, kind),
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(_) => thread::sleep(ACCEPT_PAUSE),
                }
            }
        };
        thread::Builder::new().name("listen".into()).spawn(accept).expect("a node begins with a few threads");
    }

    fn accept(self: &Arc<Hub>, socket: TcpStream, from: SocketAddr, kind: ListenerKind) {
        let Some((link, stranger)) = self.links.accept(kind) else { return };
        // Without a thread for it the socket is closed, and nobody ever knew of it.
        let _ = self.start(link, move |hub, link| {
            let Some(socket) = link.attach(socket) else { return Err(CloseReason::Ended) };
            let mut conversation = Conversation::new(hub, link, socket);
            conversation.shake_hands(hub.links.guards().handshake)?;
            drop(stranger);
            hub.tell(Input::Accepted { link: link.clone(), from: from.to_string() });
            conversation.go_on()
        });
    }

    /// Connects a link, and reads and writes from then on.
    pub(crate) fn connect(self: &Arc<Hub>, link: Arc<Link<Threads>>, address: Address) {
        let conn = link.id();
        self.links.add(link.clone());
        let started = self.start(link, move |hub, link| {
            let socket = connect(link, &address, hub.links.guards().connect)?;
            let Some(socket) = link.attach(socket) else { return Err(CloseReason::Ended) };
            let mut conversation = Conversation::new(hub, link, socket);
            conversation.shake_hands(hub.links.guards().handshake)?;
            hub.tell(Input::Event(Event::Connected { conn }));
            conversation.go_on()
        });
        if let Err(error) = started {
            let reason = CloseReason::Unreachable(error.to_string());
            self.tell(Input::Event(Event::Closed { conn, reason }));
        }
    }

    /// Gives a link its thread. What it returns is the end of the connection.
    fn start(
        self: &Arc<Hub>,
        link: Arc<Link<Threads>>,
        live: impl FnOnce(&Arc<Hub>, &Arc<Link<Threads>>) -> Result<(), CloseReason> + Send + 'static,
    ) -> io::Result<()> {
        let (hub, conn) = (self.clone(), link.id());
        let thread = move || {
            let end = live(&hub, &link);
            link.end();
            let reason = end.err().unwrap_or(CloseReason::Ended);
            hub.tell(Input::Event(Event::Closed { conn, reason }));
            hub.links.remove(conn);
        };
        let started = thread::Builder::new().name("connection".into()).spawn(thread);
        if started.is_err() {
            self.links.remove(conn);
        }
        started.map(drop)
    }

    /// Ends what the machine does not know of: listeners and handshakes.
    pub(crate) fn stop(&self) {
        self.links.stop();
        for mut address in lock(&self.listening).drain(..) {
            // A thread in `accept` is woken by somebody to accept.
            match address.ip() {
                IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
                IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
                _ => {}
            }
            let _ = TcpStream::connect_timeout(&address, self.links.guards().linger);
        }
    }

    /// Ends every connection.
    pub(crate) fn end_all(&self) {
        self.links.end_all();
    }

    fn tell(&self, input: Input<Threads>) {
        // If nobody listens, the node has stopped.
        let _ = self.inputs.send(input);
    }
}

/// Tries the addresses of a host in turn.
fn connect(link: &Link<Threads>, address: &Address, patience: Duration) -> Result<TcpStream, CloseReason> {
    let unreachable = |error: io::Error| CloseReason::Unreachable(error.to_string());
    let addresses = (&*address.host, address.port).to_socket_addrs().map_err(unreachable)?;
    let mut failure = CloseReason::Unreachable("the host has no address".into());
    for address in addresses.take(ADDRESSES_MAX) {
        if link.is_over() {
            break;
        }
        match TcpStream::connect_timeout(&address, patience) {
            Ok(socket) => return Ok(socket),
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => failure = CloseReason::Refused,
            Err(error) => failure = unreachable(error),
        }
    }
    Err(failure)
}

/// A link with its socket, as its reading thread sees it.
struct Conversation<'a> {
    hub: &'a Arc<Hub>,
    link: &'a Arc<Link<Threads>>,
    socket: &'a TcpStream,
    read: ReadBuffer,
    events: Vec<Event>,
}

impl<'a> Conversation<'a> {
    fn new(hub: &'a Arc<Hub>, link: &'a Arc<Link<Threads>>, socket: &'a TcpStream) -> Self {
        // Batches are as large as can be already.
        let _ = socket.set_nodelay(true);
        Conversation { hub, link, socket, read: ReadBuffer::new(), events: Vec::new() }
    }

    /// Reads and writes until the machine may know of the connection.
    fn shake_hands(&mut self, patience: Duration) -> Result<(), CloseReason> {
        let (deadline, mut batch) = (Instant::now() + patience, WriteBuffer::new());
        loop {
            let reading = self.link.receive(&mut self.read, &mut self.events);
            if self.link.is_open() {
                break;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(CloseReason::Handshake("the other side took too long".into()));
            }
            let _ = self.socket.set_read_timeout(Some(left));
            let _ = self.socket.set_write_timeout(Some(left));
            match reading {
                Ok(_) => self.link.send(&mut batch).map(drop)?,
                Err(_) => self.link.turn_away(&mut batch),
            }
            let written = write(self.socket, &mut batch);
            reading?;
            written.map_err(lost)?;
            self.read_some();
        }
        let _ = self.socket.set_read_timeout(None);
        let _ = self.socket.set_write_timeout(None);
        Ok(())
    }

    /// Reads until the end of the connection. Another thread writes.
    fn go_on(mut self) -> Result<(), CloseReason> {
        let (hub, link) = (self.hub.clone(), self.link.clone());
        let writer = thread::Builder::new().name("writer".into()).spawn(move || write_on(&hub, &link));
        writer.map_err(lost)?;
        while !self.link.is_over() {
            let reading = self.link.receive(&mut self.read, &mut self.events);
            self.events.drain(..).for_each(|event| self.hub.tell(Input::Event(event)));
            match reading? {
                Reading::Read => self.read_some(),
                Reading::Wait => self.link.reader.wait(),
            }
        }
        Ok(())
    }

    fn read_some(&mut self) {
        match self.socket.read(self.read.space()) {
            Ok(0) => self.link.end_input(None),
            Ok(len) => self.read.filled(len),
            // A time-out is the former or the latter, according to the system.
            Err(error) if [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind()) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => self.link.end_input(Some(lost(error))),
        }
    }
}

/// Writes until the end of the connection.
fn write_on(hub: &Hub, link: &Link<Threads>) {
    let conn = link.id();
    let socket = link.socket().expect("a link with a writer has a socket");
    let mut batch = WriteBuffer::new();
    while !link.is_over() {
        let written = match link.send(&mut batch) {
            Ok(Writing::Write) => write(socket, &mut batch).map_err(lost),
            Ok(Writing::Wait) => {
                link.writer.wait();
                continue;
            }
            Ok(Writing::Over) => return part(hub, link),
            Err(reason) => Err(reason),
        };
        match written {
            Ok(()) if batch.payload() > 0 => {
                hub.tell(Input::Event(Event::Sent { conn, bytes: batch.payload() }));
            }
            Ok(()) => {}
            Err(reason) => return link.end_output(reason),
        }
    }
}

/// Everything is written. For the machine that is the end; the other side gets time to read it.
fn part(hub: &Hub, link: &Link<Threads>) {
    hub.tell(Input::Event(Event::Closed { conn: link.id(), reason: CloseReason::Ended }));
    link.shutdown(Shutdown::Write);
    let deadline = Instant::now() + hub.links.guards().linger;
    while !link.is_over() {
        match deadline.saturating_duration_since(Instant::now()) {
            Duration::ZERO => link.end(),
            left => link.writer.wait_at_most(left),
        }
    }
}

fn write(mut socket: &TcpStream, batch: &mut WriteBuffer) -> io::Result<()> {
    loop {
        let mut slices = [IoSlice::new(&[]); 16];
        let used = batch.slices(&mut slices);
        if used == 0 {
            return Ok(());
        }
        match socket.write_vectored(&slices[..used]) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(len) => batch.advance(len),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn lost(error: io::Error) -> CloseReason {
    CloseReason::Lost(error.to_string())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
