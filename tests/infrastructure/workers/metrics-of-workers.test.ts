/** The metrics of all workers, with the metrics that a worker really has; what is between them is left out. */
import { expect } from 'chai';
import type { TopicName } from '../../../domain/topic/topic-name.js';
import { PrometheusMetrics } from '../../../infrastructure/observability/prometheus-metrics.js';
import { MetricsOfWorkers } from '../../../infrastructure/workers/metrics-of-workers.js';
import { ManualClock } from '../../support/manual-clock.js';
import { settle } from '../../support/settle.js';

describe('the metrics of all workers', () => {
  let clock: ManualClock;
  let workers: Map<number, PrometheusMetrics>;
  /** Those that do not answer. */
  let hung: Set<number>;
  let all: MetricsOfWorkers;

  beforeEach(() => {
    clock = new ManualClock();
    workers = new Map([1, 2].map((id) => [id, new PrometheusMetrics()]));
    hung = new Set();
    all = new MetricsOfWorkers((scrape) => {
      for (const [id, metrics] of workers) {
        if (!hung.has(id)) void metrics.read().then((reading) => all.onReading(id, scrape, reading));
      }
      return workers.keys();
    }, clock);
  });

  const worker = (id: number): PrometheusMetrics => workers.get(id)!;

  const lines = async (): Promise<readonly string[]> => (await all.render()).body.split('\n');

  const end = (id: number): void => {
    workers.delete(id);
    all.onEnd(id);
  };

  it('are in the text format of Prometheus', async () => {
    const { contentType, body } = await all.render();
    expect(contentType).to.match(/^text\/plain; version=0\.0\.4/);
    expect(body).to.include('# TYPE proxy_messages_received_total counter');
    expect(body).to.include('process_cpu_user_seconds_total');
  });

  it('are sums of what was counted, of connections, and of latencies', async () => {
    worker(1).messagesReceived(3);
    worker(2).messagesReceived(4);
    worker(1).connectionOpened('websocket');
    worker(2).connectionOpened('websocket');
    worker(1).messagesDelivered('websocket', 1, 1);
    worker(2).messagesDelivered('websocket', 5, 9_000);
    expect(await lines()).to.include.members([
      'proxy_workers 2',
      'proxy_workers_ended_total 0',
      'proxy_messages_received_total 7',
      'proxy_messages_delivered_total{type="websocket"} 6',
      'proxy_connections_total{type="websocket"} 2',
      'proxy_message_latency_seconds_bucket{le="0.001",type="websocket"} 1',
      'proxy_message_latency_seconds_bucket{le="10",type="websocket"} 2',
    ]);
  });

  it('are the worst of what cannot be added up', async () => {
    worker(1).observeStorage(() => ({ isUp: true, feedLagMs: 2_000 }));
    worker(2).observeStorage(() => ({ isUp: false, feedLagMs: 1_000 }));
    worker(1).observeInFlight(() => ({ messages: 2, oldestAgeMs: 5_000 }));
    worker(2).observeInFlight(() => ({ messages: 3, oldestAgeMs: 1_000 }));
    worker(1).observeQueueDepth(() => [['a' as TopicName, 10]]);
    worker(2).observeQueueDepth(() => [['a' as TopicName, 30]]);
    expect(await lines()).to.include.members([
      'proxy_storage_up 0',
      'proxy_feed_lag_seconds 2',
      'proxy_oldest_unacknowledged_seconds 5',
      'proxy_messages_in_flight 5',
      'proxy_queue_depth{topic="a"} 30',
    ]);
  });

  it('keep the counters of those that have ended, and not their connections', async () => {
    worker(1).messagesReceived(3);
    worker(2).messagesReceived(4);
    worker(1).connectionOpened('websocket');
    await lines();
    end(1);
    workers.set(3, new PrometheusMetrics());
    worker(3).messagesReceived(10);
    expect(await lines()).to.include.members([
      'proxy_messages_received_total 17',
      'proxy_connections_total{type="websocket"} 0',
    ]);
    end(2);
    end(3);
    expect(await lines()).to.include.members([
      'proxy_messages_received_total 17',
      'proxy_workers 0',
      'proxy_workers_ended_total 3',
    ]);
  });

  it('are answered though a worker hangs, with its last figures', async () => {
    worker(1).messagesReceived(3);
    worker(1).connectionOpened('websocket');
    await lines();
    hung.add(1);
    worker(2).messagesReceived(4);
    const rendered = lines();
    await settle();
    clock.advance(1_000);
    expect(await rendered).to.include.members([
      'proxy_workers 1',
      'proxy_messages_received_total 7',
      'proxy_connections_total{type="websocket"} 1',
    ]);
    expect(clock.waiting).to.equal(0);
  });

  it('wait for nobody who ends meanwhile', async () => {
    hung.add(1);
    const rendered = lines();
    await settle();
    end(1);
    expect(await rendered).to.include('proxy_workers 1');
  });

  it('take a reading that comes too late for its scrape as the newest', async () => {
    hung.add(1);
    const rendered = lines();
    await settle();
    clock.advance(1_000);
    await rendered;
    worker(1).messagesReceived(5);
    all.onReading(1, 1, await worker(1).read());
    const second = lines();
    await settle();
    clock.advance(1_000);
    expect(await second).to.include('proxy_messages_received_total 5');
  });
});
