//! One isolate's life: wait, hand over what came, call Python, repeat.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use wasmtime::{Store, TypedFunc};

use super::exchange::{Event, Message};
use super::fault::GuestFault;
use super::guest::Guest;
use super::limits::CpuMeter;

/// Runs on the host's threads; owns the store.
pub(super) struct Actor {
    store: Store<Guest>,
    /// `pump(callable)` of the glue.
    pump: TypedFunc<u32, i32>,
    /// The Python function it calls.
    callable: u32,
    mailbox: mpsc::UnboundedReceiver<Message>,
    meter: Arc<CpuMeter>,
    closing: bool,
    /// Who waits for the guest's next call to return.
    pings: Vec<oneshot::Sender<()>>,
}

enum Woken {
    By(Message),
    Timer,
    Abandoned,
}

impl Actor {
    pub(super) fn new(
        mut store: Store<Guest>,
        callable: u32,
        mailbox: mpsc::UnboundedReceiver<Message>,
    ) -> wasmtime::Result<Self> {
        let glue = store.data().parts().glue;
        let pump = glue.get_typed_func(&mut store, "pump")?;
        let meter = store.data().cpu.clone();
        Ok(Self { store, pump, callable, mailbox, meter, closing: false, pings: Vec::new() })
    }

    /// Serves until closed and idle, or until the guest ends. Gives the store back when
    /// the guest is still well.
    pub(super) async fn run(mut self) -> Option<Store<Guest>> {
        let fault = loop {
            if self.closing && self.store.data().exchange.pending.is_empty() {
                break None;
            }
            match self.wait().await {
                Woken::By(message) => self.take(message),
                Woken::Timer => self.store.data_mut().exchange.notify(Event::Timer),
                Woken::Abandoned => break None,
            }
            while let Ok(message) = self.mailbox.try_recv() {
                self.take(message);
            }
            if self.store.data().exchange.inbox.is_empty() {
                continue;
            }
            if let Err(fault) = self.call_pump().await {
                break Some(fault);
            }
            for answer in self.pings.drain(..) {
                let _ = answer.send(());
            }
        };
        let well = fault.is_none();
        let store = self.end(&fault.unwrap_or(GuestFault::Gone));
        well.then_some(store)
    }

    async fn wait(&mut self) -> Woken {
        let guest = self.store.data();
        let deadline = guest.exchange.deadline.and_then(|seconds| guest.clock.instant_at(seconds));
        let message = match deadline {
            None => self.mailbox.recv().await,
            Some(at) => match tokio::time::timeout_at(at.into(), self.mailbox.recv()).await {
                Ok(message) => message,
                Err(_) => return Woken::Timer,
            },
        };
        message.map_or(Woken::Abandoned, Woken::By)
    }

    fn take(&mut self, message: Message) {
        let exchange = &mut self.store.data_mut().exchange;
        match message {
            Message::Request { id, request } => exchange.accept(id, *request),
            Message::Event(event) => exchange.notify(event),
            Message::Ping(answer) => {
                exchange.notify(Event::Timer);
                self.pings.push(answer);
            }
            Message::Close => self.closing = true,
        }
    }

    async fn call_pump(&mut self) -> Result<(), GuestFault> {
        self.store.data_mut().exchange.deadline = None;
        self.store.set_epoch_deadline(1);
        let call = self.pump.call_async(&mut self.store, self.callable);
        match self.meter.measure(call).await {
            Ok(0) => Ok(()),
            Ok(_) => Err(GuestFault::Trap {
                message: "the platform's `pump` raised; its traceback is above".to_owned(),
            }),
            Err(error) => {
                let fault = GuestFault::from_error(&error);
                let worker = self.store.data().output.worker();
                tracing::warn!(%worker, %fault, "an isolate ended");
                tracing::debug!(%worker, ?error, "what ended the isolate");
                Err(fault)
            }
        }
    }

    /// Tells everybody who waits. Requests the guest has not seen may go elsewhere.
    fn end(mut self, fault: &GuestFault) -> Store<Guest> {
        self.mailbox.close();
        while let Ok(message) = self.mailbox.try_recv() {
            if let Message::Request { request, .. } = message {
                let _ = request.respond.send(Err(GuestFault::Gone));
            }
        }
        self.store.data_mut().exchange.fail_all(fault);
        self.store
    }
}
