//! What Mamey costs in process: dispatch compared with a direct call, publishing, codecs, and ids.
//!
//! `--instructions` also counts instructions with callgrind, which takes a minute.

mod support;

#[path = "support/probe.rs"]
mod probe;

use std::error::Error;
use std::hint::black_box;
use std::rc::Rc;
use std::sync::Arc;

use mamey::clock::SystemClock;
use mamey::context::{Cause, Scope};
use mamey::id::{IdSource, UuidV7Source};
use mamey::message::{CloudEventsJson, Codec, ContextName, Envelope, WireMessage};
use mamey::persistence::MemoryDatabase;
use mamey::store::Database;
use mamey::transport::Unconnected;
use mamey::{
    BoundedContext, Command, Context, Event, Query, ReadContext, Result, RunningService, Service,
};
use mamey_cqrs::{ContextRuntime, Resources};
use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;

use probe::{ALONE, Probe, instructions, times_ns};
use support::{Measured, Report, median};

/// The most that dispatching a command may cost over a direct call.
const DISPATCH_NS_MAX: f64 = 250.0;

/// The most allocations of dispatching a command that itself holds no heap.
const DISPATCH_ALLOCATIONS_MAX: f64 = 2.0;

const DIRECT: &str = "direct call";
const COMMAND_RUNTIME: &str = "command over ContextRuntime";
const COMMAND_SERVICE: &str = "command over RunningService";
const QUERY_DIRECT: &str = "direct query";
const QUERY_RUNTIME: &str = "query over ContextRuntime";
const QUERY_SERVICE: &str = "query over RunningService";
const OUR_ID: &str = "UUIDv7 id";
const THEIR_ID: &str = "Uuid::now_v7";

/// Probes that are measured as the time over another probe, and their limits.
const OVER: [(&str, &str, Option<f64>); 4] = [
    (COMMAND_RUNTIME, DIRECT, Some(DISPATCH_NS_MAX)),
    (COMMAND_SERVICE, DIRECT, Some(DISPATCH_NS_MAX)),
    (QUERY_RUNTIME, QUERY_DIRECT, None),
    (QUERY_SERVICE, QUERY_DIRECT, None),
];

#[derive(Clone, Command)]
#[command(reply = u64)]
struct Add {
    left: u64,
    right: u64,
}

#[derive(Query)]
#[query(reply = u64)]
struct Sum {
    left: u64,
    right: u64,
}

#[derive(Event, Serialize, Deserialize)]
#[event(name = "bench.order-placed", key = order_id)]
struct OrderPlaced {
    order_id: u64,
    product: String,
    amount_cents: i64,
}

async fn add(command: Add, _cx: &Context) -> Result<u64> {
    Ok(command.left.wrapping_add(command.right))
}

async fn sum(query: Sum, _cx: &ReadContext) -> Result<u64> {
    Ok(query.left.wrapping_add(query.right))
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut probes = probes()?;
    if let [mode, name, times] = arguments.as_slice()
        && mode == ALONE
    {
        let times = times.parse()?;
        let alone = probes.iter_mut().find(|probe| probe.name == name);
        return alone.map_or(Err("no such probe".into()), |probe| {
            probe.run(times);
            Ok(())
        });
    }
    let mut report = Report::new("core");
    report_times(&mut report, &mut probes);
    for probe in &mut probes {
        report_allocations(&mut report, probe);
    }
    if arguments.iter().any(|argument| argument == "--instructions") {
        report_instructions(&mut report, &probes)?;
    } else {
        report.note("instructions: not measured (./dev bench core --instructions)");
    }
    Ok(report.publish()?)
}

fn report_times(report: &mut Report, probes: &mut [Probe]) {
    let times = times_ns(probes);
    let times_of = |name: &str| {
        let at = probes.iter().position(|probe| probe.name == name);
        at.and_then(|at| times.get(at)).map_or(&[][..], Vec::as_slice)
    };
    for (ours, theirs, target) in OVER {
        let pairs = times_of(ours).iter().zip(times_of(theirs));
        let over: Vec<f64> = pairs.map(|(ours, theirs)| ours - theirs).collect();
        let name = format!("{ours}, over a {theirs}");
        report.add(Measured::limit(name, median(&over), "ns", target));
    }
    for (probe, times) in probes.iter().zip(&times) {
        if ![OUR_ID, THEIR_ID].contains(&probe.name) {
            report.add(Measured::limit(probe.name, median(times), "ns", None));
        }
    }
    let name = format!("{OUR_ID}, beside {THEIR_ID}");
    let sides = [times_of(OUR_ID), times_of(THEIR_ID)];
    report.add(Measured::peer(name, "ns", sides, |ours, theirs| theirs / ours, None));
}

fn report_allocations(report: &mut Report, probe: &mut Probe) {
    let dispatch = [COMMAND_RUNTIME, COMMAND_SERVICE].contains(&probe.name);
    let target = dispatch.then_some(DISPATCH_ALLOCATIONS_MAX);
    let (name, count) = (probe.name, probe.allocations());
    report.add(Measured::limit(name, count, "allocations", target));
}

fn report_instructions(report: &mut Report, probes: &[Probe]) -> Result<(), Box<dyn Error>> {
    for probe in probes {
        let Some(count) = instructions(probe.name)? else {
            report.note("instructions: not measured, valgrind is not installed");
            break;
        };
        report.add(Measured::limit(probe.name, count, "instructions", None));
    }
    Ok(())
}

fn probes() -> Result<Vec<Probe>, Box<dyn Error>> {
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (scope, context, service) = tokio.block_on(open())?;
    let mut probes = dispatch_probes(&Rc::new(tokio), &scope, &context, &service);
    probes.extend(message_probes(&scope)?);
    probes.extend(id_probes());
    Ok(probes)
}

fn declaration() -> BoundedContext {
    BoundedContext::new("bench").command(add).query(sum).publishes::<OrderPlaced>()
}

async fn open() -> Result<(Arc<Scope>, Arc<ContextRuntime>, RunningService)> {
    let bench = declaration();
    let store = MemoryDatabase::new().open(&bench.schema()?).await?;
    let scope = Arc::new(Scope::new(
        ContextName::new("bench")?,
        Arc::clone(&store),
        Arc::new(SystemClock),
        Arc::new(UuidV7Source::default()),
        bench.catalog().clone(),
        Arc::new(Unconnected),
    ));
    let context = bench.open(Resources::new(store))?;
    let service = Service::in_memory().host(declaration()).start().await?;
    Ok((scope, context, service))
}

fn dispatch_probes(
    tokio: &Rc<Runtime>,
    scope: &Arc<Scope>,
    context: &Arc<ContextRuntime>,
    service: &RunningService,
) -> Vec<Probe> {
    let cx = Context::new(Arc::clone(scope), Cause::default());
    let (left, right) = (black_box(1), black_box(2));
    let (add_it, sum_it) = (move || Add { left, right }, move || Sum { left, right });
    let (runtime, same_runtime) = (Arc::clone(context), Arc::clone(context));
    let (host, same_host) = (service.clone(), service.clone());
    let read = ReadContext::new(Arc::clone(scope), Cause::default());
    vec![
        asked(tokio, DIRECT, async move || add(black_box(add_it()), &cx).await),
        asked(tokio, COMMAND_RUNTIME, async move || runtime.send(black_box(add_it())).await),
        asked(tokio, COMMAND_SERVICE, async move || host.send(black_box(add_it())).await),
        asked(tokio, QUERY_DIRECT, async move || sum(black_box(sum_it()), &read).await),
        asked(tokio, QUERY_RUNTIME, async move || same_runtime.query(black_box(sum_it())).await),
        asked(tokio, QUERY_SERVICE, async move || same_host.query(black_box(sum_it())).await),
    ]
}

/// A probe of a call that answers 3; a wrong answer or an error ends the benchmark.
fn asked(
    tokio: &Rc<Runtime>,
    name: &'static str,
    ask: impl AsyncFn() -> Result<u64> + 'static,
) -> Probe {
    let tokio = Rc::clone(tokio);
    Probe::new(name, move |times| {
        tokio.block_on(async {
            for _ in 0..times {
                let answer = black_box(ask().await);
                assert!(matches!(answer, Ok(3)), "{name} answered {answer:?}");
            }
        });
    })
}

fn message_probes(scope: &Arc<Scope>) -> Result<Vec<Probe>> {
    let placed = OrderPlaced {
        order_id: 7_000_001,
        product: "espresso beans, 1 kg".to_owned(),
        amount_cents: 1_990,
    };
    let envelope = published(scope, &placed);
    let codec = Arc::new(CloudEventsJson::default());
    let wire = codec.encode(&envelope)?;
    assert_eq!(codec.decode(&wire)?, envelope, "the codec lost something");
    let scope = Arc::clone(scope);
    Ok(vec![
        Probe::new("event publish (payload and envelope)", move |times| {
            for _ in 0..times {
                black_box(published(&scope, black_box(&placed)));
            }
        }),
        encoding(Arc::clone(&codec), envelope),
        decoding(codec, wire),
    ])
}

/// The envelope that a handler which publishes `event` leaves in its unit of work.
fn published(scope: &Arc<Scope>, event: &OrderPlaced) -> Envelope {
    let cx = Context::new(Arc::clone(scope), Cause::default());
    cx.publish(event).expect("the event is declared");
    let published = cx.take_unit().expect("no transaction is open").outbox.pop();
    published.expect("the unit holds the event")
}

fn encoding(codec: Arc<CloudEventsJson>, envelope: Envelope) -> Probe {
    Probe::new("CloudEvents encode", move |times| {
        for _ in 0..times {
            let wire = codec.encode(black_box(&envelope));
            assert!(black_box(wire).is_ok());
        }
    })
}

fn decoding(codec: Arc<CloudEventsJson>, wire: WireMessage) -> Probe {
    Probe::new("CloudEvents decode", move |times| {
        for _ in 0..times {
            let envelope = codec.decode(black_box(&wire));
            assert!(black_box(envelope).is_ok());
        }
    })
}

fn id_probes() -> [Probe; 2] {
    let ids = UuidV7Source::default();
    let ours = Probe::new(OUR_ID, move |times| {
        for _ in 0..times {
            black_box(ids.next_uuid());
        }
    });
    let theirs = Probe::new(THEIR_ID, |times| {
        for _ in 0..times {
            black_box(uuid::Uuid::now_v7());
        }
    });
    [ours, theirs]
}
