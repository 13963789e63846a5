//! The life of a function's process: wiring, then one invocation after the other.
//!
//! When wiring finds faults, they are written to the log as one line, told to Lambda as an init
//! error, and the process ends with 1. Lambda starts another one for the next invocation, so a
//! mended deployment needs nothing but the mending.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::ExitCode;
use std::time::Duration;

use lambda_runtime::{LambdaEvent, service_fn};
use tidemill_aws::Fault;
use tokio::sync::Mutex;

use crate::advance::{Ends, Summary};
use crate::clock::{machine_now, time_left};
use crate::environment::Environment;
use crate::event::Event;
use crate::event::kafka::KafkaEvent;
use crate::event::kinesis::KinesisEvent;
use crate::event::schedule::Schedule;
use crate::failure::Failure;
use crate::telemetry::start_logs;
use crate::{setup, wiring};

/// The code of an init error.
const FAULTS: &str = "Setup.Faults";
/// How long before Lambda would end it an ingest ends by itself, to say what is not covered.
const BEFORE_DEADLINE: Duration = Duration::from_millis(500);
/// Longest wait for the Runtime API when the process ends.
const REPORT_TIMEOUT: Duration = Duration::from_secs(2);

/// The Kinesis function.
pub fn kinesis() -> ExitCode {
    start(async |environment| {
        let handler = &Mutex::new(wiring::ingest(environment).await?);
        let serve = service_fn(move |event: LambdaEvent<Event<KinesisEvent>>| async move {
            let left = time_left(event.context.deadline, machine_now(), BEFORE_DEADLINE);
            handler.lock().await.kinesis(event.payload, &event.context.request_id, left).await
        });
        Ok(lambda_runtime::run(serve).await)
    })
}

/// The Kafka function.
pub fn kafka() -> ExitCode {
    start(async |environment| {
        let handler = &Mutex::new(wiring::ingest(environment).await?);
        let serve = service_fn(move |event: LambdaEvent<Event<KafkaEvent>>| async move {
            let left = time_left(event.context.deadline, machine_now(), BEFORE_DEADLINE);
            handler.lock().await.kafka(event.payload, &event.context.request_id, left).await
        });
        Ok(lambda_runtime::run(serve).await)
    })
}

/// The advance function.
pub fn advance() -> ExitCode {
    start(async |environment| {
        let (ticker, period) = wiring::advance(environment).await?;
        let ticker = &Mutex::new(ticker);
        let serve = service_fn(move |event: LambdaEvent<Event<Schedule>>| async move {
            let due = event.payload.0.ok().and_then(|schedule| schedule.due);
            let ends = Ends::of(machine_now(), due, period, event.context.deadline);
            let summary = ticker.lock().await.run(&event.context.request_id, ends).await;
            summary as Result<Summary, Failure>
        });
        Ok(lambda_runtime::run(serve).await)
    })
}

/// Runs `function` until Lambda ends the process; when it has faults, tells them and ends.
fn start(
    function: impl AsyncFnOnce(&Environment) -> Result<Result<(), lambda_runtime::Error>, Vec<Fault>>,
) -> ExitCode {
    let environment = Environment::of_process();
    start_logs(&environment);
    // One thread: a function has one thing to do at a time, and starts faster so.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ended = match runtime {
        Ok(runtime) => runtime.block_on(function(&environment)),
        Err(error) => Err(vec![Fault::new(
            format!("no async runtime starts: {error}"),
            "give the function more memory, which gives it more threads and file descriptors too",
        )]),
    };
    match ended {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            tracing::error!(error_type = "Runtime", %error, "the Lambda Runtime API failed");
            ExitCode::FAILURE
        }
        Err(faults) => {
            let message = setup::told(&faults);
            tracing::error!(error_type = FAULTS, faults = faults.len(), "{message}");
            if let Some(api) = environment.get(setup::RUNTIME_API)
                && let Err(error) = report(api, &message)
            {
                tracing::error!(error_type = "Runtime", %error, "the init error is not reported");
            }
            ExitCode::FAILURE
        }
    }
}

/// Tells Lambda's Runtime API that this process cannot start. Written out by hand: one request on
/// the way out, for which the runtime crate has no public call.
fn report(api: &str, message: &str) -> std::io::Result<()> {
    let body = serde_json::json!({
        "errorType": FAULTS,
        "errorMessage": message,
        "stackTrace": [],
    });
    let body = body.to_string();
    let mut stream = TcpStream::connect(api)?;
    stream.set_read_timeout(Some(REPORT_TIMEOUT))?;
    stream.set_write_timeout(Some(REPORT_TIMEOUT))?;
    write!(
        stream,
        "POST /2018-06-01/runtime/init/error HTTP/1.1\r\n\
         Host: {api}\r\n\
         Content-Type: application/json\r\n\
         Lambda-Runtime-Function-Error-Type: {FAULTS}\r\n\
         Content-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    )?;
    stream.flush()?;
    // The answer says nothing that matters, but without reading it the request may be cut off.
    let _ = stream.read(&mut [0; 512])?;
    Ok(())
}
