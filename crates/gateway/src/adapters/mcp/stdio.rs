//! MCP over lines: one client on one pair of streams. What cannot be read is answered and the next line is read.

use super::downstream::{Arrival, Downstream, Endpoint};
use super::link::{Lane, Parcel};
use super::{INVALID_REQUEST, PARSE_ERROR};
use crate::gate::Gate;
use crate::launch::Insider;
use crate::wire::frame::{self, FRAME_BYTES_MAX, FrameError, Kind, Object};
use crate::wire::lines::{self, Line};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

/// Messages that wait for a client to read.
const LANE_MESSAGES_MAX: usize = 256;

/// Requests of one client under way or waiting to be read.
const RUNNING_MAX: usize = 256;
/// How long requests may go on after the client's input has ended, in seconds.
const DRAIN_SECONDS_MAX: u64 = 20;

/// Where a client comes from, as far as that is known.
#[derive(Default)]
pub struct Origin {
    /// The name of the conversation it belongs to.
    pub conversation: Option<String>,
    /// The folder it was started in.
    pub cwd: Option<String>,
    /// The agent behind the wall whose door it came in at.
    pub insider: Option<Arc<Insider>>,
}

/// Serves one client until its stream ends.
pub async fn serve(
    gate: Arc<Gate>,
    endpoint: Endpoint,
    origin: Origin,
    mut reader: impl AsyncBufRead + Unpin,
    writer: impl AsyncWrite + Unpin + Send + 'static,
) {
    let (sender, messages) = mpsc::channel(LANE_MESSAGES_MAX);
    let lane = Lane(sender);
    let writing = tokio::spawn(write(writer, messages));
    let mut client: Option<Arc<Downstream>> = None;
    let mut running = JoinSet::new();
    let places = Arc::new(Semaphore::new(RUNNING_MAX));
    loop {
        let line = match lines::next(&mut reader, FRAME_BYTES_MAX).await {
            Ok(Line::Whole(line)) => line,
            Ok(Line::TooLong) => {
                lane.send(frame::error(None, INVALID_REQUEST, &FrameError::TooLarge.to_string(), None)).await;
                continue;
            }
            Ok(Line::End) | Err(_) => break,
        };
        let message = match Object::parse(&line) {
            Ok(message) => message,
            Err(error) => {
                let code = if matches!(error, FrameError::Syntax(_)) { PARSE_ERROR } else { INVALID_REQUEST };
                lane.send(frame::error(None, code, &error.to_string(), None)).await;
                continue;
            }
        };
        let opens = message.method() == "initialize";
        if opens || client.is_none() {
            // A client whose probe failed may begin again with a handshake.
            if let Some(before) = client.take() {
                before.end();
            }
            let (era, about) = Downstream::client_of(&message);
            let begun = Downstream::begin(&gate, "stdio", endpoint.clone(), era, about, lane.clone());
            if let Some(insider) = &origin.insider {
                begun.begins_at(insider);
            } else if let Some(conversation) = &origin.conversation {
                begun.join(conversation);
            }
            if let Some(cwd) = &origin.cwd {
                drop(begun.cwd.set(cwd.clone()));
            }
            client = Some(begun);
        }
        let Some(client) = client.clone() else { break };
        // A client that does not read its answers is not read either.
        let Ok(place) = places.clone().acquire_owned().await else { break };
        let lane = lane.clone();
        let is_request = matches!(message.kind(), Ok(Kind::Request));
        let received = client.receive(message, Arrival::on(lane.clone()));
        let receiving = async move {
            if let Some(response) = received.await {
                lane.send(response).await;
            }
            drop(place);
        };
        if opens || !is_request {
            // Some clients send the next message before the handshake is answered; and what is only said is heard in
            // the order it was said.
            receiving.await;
        } else {
            running.spawn(receiving);
            while running.try_join_next().is_some() {}
        }
    }
    // Its input has ended; what it asked before is still answered.
    let drain = async { while running.join_next().await.is_some() {} };
    drop(tokio::time::timeout(Duration::from_secs(DRAIN_SECONDS_MAX), drain).await);
    running.shutdown().await;
    if let Some(client) = &client {
        client.end();
    }
    drop((lane, client));
    drop(tokio::time::timeout(Duration::from_secs(1), writing).await);
}

async fn write(mut writer: impl AsyncWrite + Unpin, mut messages: mpsc::Receiver<Parcel>) {
    while let Some(parcel) = messages.recv().await {
        // This stream is never closed to be asked for again.
        let Parcel::Message(message) = parcel else { continue };
        let mut line = message.to_raw().get().as_bytes().to_vec();
        line.iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')).for_each(|byte| *byte = b' ');
        line.push(b'\n');
        if writer.write_all(&line).await.and(writer.flush().await).is_err() {
            return;
        }
    }
}
