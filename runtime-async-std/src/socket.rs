//! The tasks that wait for sockets.

use crate::executor::Spawn;
use async_channel::{Receiver, Sender};
use async_io::{Async, Timer};
use futures_lite::{AsyncReadExt, AsyncWriteExt, future};
use std::future::Future;
use std::io::{self, ErrorKind, IoSlice};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;
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

/// Sockets and signals of tasks.
pub(crate) enum Tasks {}

impl Medium for Tasks {
    type Socket = Async<TcpStream>;
    type Signal = Signal;

    fn raise(signal: &Signal) {
        // If it is full, it is raised.
        let _ = signal.sender.try_send(());
    }

    fn shutdown(socket: &Async<TcpStream>, how: Shutdown) {
        // It fails if the other side was faster.
        let _ = socket.get_ref().shutdown(how);
    }
}

/// Something that one task waits for.
pub(crate) struct Signal {
    sender: Sender<()>,
    receiver: Receiver<()>,
}

impl Default for Signal {
    fn default() -> Signal {
        let (sender, receiver) = async_channel::bounded(1);
        Signal { sender, receiver }
    }
}

impl Signal {
    async fn wait(&self) {
        self.receiver.recv().await.expect("a signal has a sender");
    }
}

/// What all tasks of a node share. The last one to let go of it tells [`crate::run`].
pub(crate) struct Hub<E> {
    links: Links<Tasks>,
    executor: E,
    inputs: Sender<Input<Tasks>>,
    /// Closed when the node stops.
    stop: Sender<()>,
    stopped: Receiver<()>,
    _gone: Sender<()>,
}

impl<E: Spawn> Hub<E> {
    pub(crate) fn new(
        links: Links<Tasks>,
        executor: E,
        inputs: Sender<Input<Tasks>>,
    ) -> (Arc<Hub<E>>, Receiver<()>) {
        let (_gone, gone) = async_channel::bounded(1);
        let (stop, stopped) = async_channel::bounded(1);
        (Arc::new(Hub { links, executor, inputs, stop, stopped, _gone }), gone)
    }

    /// Accepts connections from now on.
    pub(crate) fn listen(self: &Arc<Self>, listener: TcpListener, kind: ListenerKind) {
        let hub = self.clone();
        self.executor.spawn(async move {
            let listener = Async::new(listener).expect("a listener can be told not to block");
            let accept = async {
                loop {
                    match listener.accept().await {
                        Ok((socket, from)) => hub.accept(socket, from, kind),
                        Err(error) if error.kind() == ErrorKind::Interrupted => {}
                        Err(_) => drop(Timer::after(ACCEPT_PAUSE).await),
                    }
                }
            };
            let stop = async {
                let _ = hub.stopped.recv().await;
            };
            future::or(stop, accept).await;
        });
    }

    fn accept(self: &Arc<Self>, socket: Async<TcpStream>, from: SocketAddr, kind: ListenerKind) {
        let Some((link, stranger)) = self.links.accept(kind) else { return };
        let hub = self.clone();
        self.start(link.clone(), async move {
            let Some(socket) = link.attach(socket) else { return Err(CloseReason::Ended) };
            let mut conversation = Conversation::new(&hub, &link, socket);
            conversation.shake_hands(hub.links.guards().handshake).await?;
            drop(stranger);
            hub.tell(Input::Accepted { link: link.clone(), from: from.to_string() });
            conversation.go_on().await
        });
    }

    /// Connects a link, and reads and writes from then on.
    pub(crate) fn connect(self: &Arc<Self>, link: Arc<Link<Tasks>>, address: Address) {
        self.links.add(link.clone());
        let hub = self.clone();
        self.start(link.clone(), async move {
            let connect = connect(address, hub.links.guards().connect);
            let socket = future::or(connect, over(&link)).await?;
            let Some(socket) = link.attach(socket) else { return Err(CloseReason::Ended) };
            let mut conversation = Conversation::new(&hub, &link, socket);
            conversation.shake_hands(hub.links.guards().handshake).await?;
            hub.tell(Input::Event(Event::Connected { conn: link.id() }));
            conversation.go_on().await
        });
    }

    /// Gives a link its task. What it returns is the end of the connection.
    fn start(
        self: &Arc<Self>,
        link: Arc<Link<Tasks>>,
        live: impl Future<Output = Result<(), CloseReason>> + Send + 'static,
    ) {
        let hub = self.clone();
        self.executor.spawn(async move {
            let end = live.await;
            link.end();
            let (conn, reason) = (link.id(), end.err().unwrap_or(CloseReason::Ended));
            hub.tell(Input::Event(Event::Closed { conn, reason }));
            hub.links.remove(conn);
        });
    }

    /// Ends what the machine does not know of: listeners and handshakes.
    pub(crate) fn stop(&self) {
        self.links.stop();
        self.stop.close();
    }

    /// Ends every connection.
    pub(crate) fn end_all(&self) {
        self.links.end_all();
    }

    fn tell(&self, input: Input<Tasks>) {
        // If nobody listens, the node has stopped.
        let _ = self.inputs.try_send(input);
    }
}

/// Comes back when the link is ended.
async fn over<T>(link: &Link<Tasks>) -> Result<T, CloseReason> {
    while !link.is_over() {
        // Other signals than the end may come by; nobody misses them before the first read.
        link.reader.wait().await;
    }
    Err(CloseReason::Ended)
}

/// Tries the addresses of a host in turn.
async fn connect(address: Address, patience: Duration) -> Result<Async<TcpStream>, CloseReason> {
    let unreachable = |error: io::Error| CloseReason::Unreachable(error.to_string());
    let resolve = move || (&*address.host, address.port).to_socket_addrs();
    let addresses = blocking::unblock(resolve).await.map_err(unreachable)?;
    let mut failure = CloseReason::Unreachable("the host has no address".into());
    for address in addresses.take(ADDRESSES_MAX) {
        let time_out = async {
            Timer::after(patience).await;
            Err(ErrorKind::TimedOut.into())
        };
        match future::or(Async::<TcpStream>::connect(address), time_out).await {
            Ok(socket) => return Ok(socket),
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => failure = CloseReason::Refused,
            Err(error) => failure = unreachable(error),
        }
    }
    Err(failure)
}

/// A link with its socket, as its reading task sees it.
struct Conversation<'a, E> {
    hub: &'a Arc<Hub<E>>,
    link: &'a Arc<Link<Tasks>>,
    socket: &'a Async<TcpStream>,
    read: ReadBuffer,
    events: Vec<Event>,
}

impl<'a, E: Spawn> Conversation<'a, E> {
    fn new(hub: &'a Arc<Hub<E>>, link: &'a Arc<Link<Tasks>>, socket: &'a Async<TcpStream>) -> Self {
        // Batches are as large as can be already.
        let _ = socket.get_ref().set_nodelay(true);
        Conversation { hub, link, socket, read: ReadBuffer::new(), events: Vec::new() }
    }

    /// Reads and writes until the machine may know of the connection.
    async fn shake_hands(&mut self, patience: Duration) -> Result<(), CloseReason> {
        let time_out = async {
            Timer::after(patience).await;
            Err(CloseReason::Handshake("the other side took too long".into()))
        };
        let shake = async {
            let mut batch = WriteBuffer::new();
            loop {
                let reading = self.link.receive(&mut self.read, &mut self.events);
                if self.link.is_open() {
                    return Ok(());
                }
                match reading {
                    Ok(_) => self.link.send(&mut batch).map(drop)?,
                    Err(_) => self.link.turn_away(&mut batch),
                }
                let written = write(self.socket, &mut batch).await;
                reading?;
                written.map_err(lost)?;
                self.read_some().await;
            }
        };
        future::or(shake, time_out).await
    }

    /// Reads until the end of the connection. Another task writes.
    async fn go_on(mut self) -> Result<(), CloseReason> {
        let (hub, link) = (self.hub.clone(), self.link.clone());
        self.hub.executor.spawn(async move { write_on(&hub, &link).await });
        while !self.link.is_over() {
            let reading = self.link.receive(&mut self.read, &mut self.events);
            self.events.drain(..).for_each(|event| self.hub.tell(Input::Event(event)));
            match reading? {
                Reading::Read => self.read_some().await,
                Reading::Wait => self.link.reader.wait().await,
            }
            // A socket that always has something must not keep others from their turn.
            future::yield_now().await;
        }
        Ok(())
    }

    async fn read_some(&mut self) {
        let mut socket = self.socket;
        match socket.read(self.read.space()).await {
            Ok(0) => self.link.end_input(None),
            Ok(len) => self.read.filled(len),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => self.link.end_input(Some(lost(error))),
        }
    }
}

/// Writes until the end of the connection.
async fn write_on<E: Spawn>(hub: &Hub<E>, link: &Link<Tasks>) {
    let conn = link.id();
    let socket = link.socket().expect("a link with a writer has a socket");
    let mut batch = WriteBuffer::new();
    while !link.is_over() {
        let written = match link.send(&mut batch) {
            Ok(Writing::Write) => write(socket, &mut batch).await.map_err(lost),
            Ok(Writing::Wait) => {
                link.writer.wait().await;
                continue;
            }
            Ok(Writing::Over) => return part(hub, link).await,
            Err(reason) => Err(reason),
        };
        match written {
            Ok(()) if batch.payload() > 0 => {
                hub.tell(Input::Event(Event::Sent { conn, bytes: batch.payload() }));
            }
            Ok(()) => {}
            Err(reason) => return link.end_output(reason),
        }
        future::yield_now().await;
    }
}

/// Everything is written. For the machine that is the end; the other side gets time to read it.
async fn part<E: Spawn>(hub: &Hub<E>, link: &Link<Tasks>) {
    hub.tell(Input::Event(Event::Closed { conn: link.id(), reason: CloseReason::Ended }));
    link.shutdown(Shutdown::Write);
    let time_out = async {
        Timer::after(hub.links.guards().linger).await;
    };
    let gone = async {
        while !link.is_over() {
            link.writer.wait().await;
        }
    };
    future::or(gone, time_out).await;
    link.end();
}

async fn write(mut socket: &Async<TcpStream>, batch: &mut WriteBuffer) -> io::Result<()> {
    loop {
        let mut slices = [IoSlice::new(&[]); 16];
        let used = batch.slices(&mut slices);
        if used == 0 {
            return Ok(());
        }
        match socket.write_vectored(&slices[..used]).await {
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
