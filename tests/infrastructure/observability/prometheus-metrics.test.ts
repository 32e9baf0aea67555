import { expect } from 'chai';
import type { StorageState } from '../../../application/ports/metrics.js';
import type { TopicName } from '../../../domain/topic/topic-name.js';
import { PrometheusMetrics } from '../../../infrastructure/observability/prometheus-metrics.js';

const linesOf = async (metrics: PrometheusMetrics): Promise<readonly string[]> =>
  (await metrics.render()).body.split('\n');

const topic = (name: string): TopicName => name as TopicName;

describe('PrometheusMetrics', () => {
  it('has the five series that the README promises, from the start', async () => {
    const lines = await linesOf(new PrometheusMetrics());
    expect(lines).to.include.members([
      '# TYPE proxy_connections_total gauge',
      'proxy_connections_total{type="websocket"} 0',
      'proxy_connections_total{type="long_poll"} 0',
      '# TYPE proxy_messages_received_total counter',
      'proxy_messages_received_total 0',
      '# TYPE proxy_messages_delivered_total counter',
      'proxy_messages_delivered_total{type="websocket"} 0',
      '# TYPE proxy_message_latency_seconds histogram',
      'proxy_message_latency_seconds_count{type="long_poll"} 0',
      '# TYPE proxy_queue_depth gauge',
    ]);
  });

  it('is served as the Prometheus text format, with the metrics of the process', async () => {
    const { contentType, body } = await new PrometheusMetrics().render();
    expect(contentType).to.match(/^text\/plain; version=0\.0\.4/);
    expect(body).to.include('process_cpu_user_seconds_total');
    expect(body).to.include('nodejs_eventloop_lag_seconds');
  });

  it('counts connections up and down by type', async () => {
    const metrics = new PrometheusMetrics();
    metrics.connectionOpened('websocket');
    metrics.connectionOpened('websocket');
    metrics.connectionOpened('long_poll');
    metrics.connectionClosed('websocket');
    expect(await linesOf(metrics)).to.include.members([
      'proxy_connections_total{type="websocket"} 1',
      'proxy_connections_total{type="long_poll"} 1',
    ]);
  });

  it('adds up messages, and says the same at a second scrape', async () => {
    const metrics = new PrometheusMetrics();
    metrics.messagesReceived(3);
    metrics.messagesReceived(4);
    metrics.messagesDelivered('websocket', 10, 5);
    metrics.messagesDelivered('long_poll', 2, 5);
    metrics.messagesDelivered('websocket', 1, 5);
    const expected = [
      'proxy_messages_received_total 7',
      'proxy_messages_delivered_total{type="websocket"} 11',
      'proxy_messages_delivered_total{type="long_poll"} 2',
    ];
    expect(await linesOf(metrics)).to.include.members(expected);
    expect(await linesOf(metrics)).to.include.members(expected);
  });

  it('observes latency in seconds, in buckets from 1 ms to 10 s', async () => {
    const metrics = new PrometheusMetrics();
    metrics.messagesDelivered('websocket', 5, 1);
    metrics.messagesDelivered('websocket', 5, 9_000);
    expect(await linesOf(metrics)).to.include.members([
      'proxy_message_latency_seconds_bucket{le="0.001",type="websocket"} 1',
      'proxy_message_latency_seconds_bucket{le="5",type="websocket"} 1',
      'proxy_message_latency_seconds_bucket{le="10",type="websocket"} 2',
      'proxy_message_latency_seconds_sum{type="websocket"} 9.001',
    ]);
  });

  it('never throws at a latency that clocks or arithmetic have spoilt', async () => {
    const metrics = new PrometheusMetrics();
    for (const latencyMs of [-5, NaN, Infinity]) metrics.messagesDelivered('websocket', 1, latencyMs);
    expect(await linesOf(metrics)).to.include.members([
      'proxy_message_latency_seconds_count{type="websocket"} 3',
      'proxy_message_latency_seconds_sum{type="websocket"} 0',
    ]);
  });

  it('has every series of what happens to messages from the start, with every reason', async () => {
    const reasons = ['retention', 'removed', 'storage_rollback', 'stream_reset', 'slow_consumer'];
    expect(await linesOf(new PrometheusMetrics())).to.include.members([
      'proxy_messages_acknowledged_total 0',
      'proxy_messages_redelivered_total 0',
      'proxy_messages_dead_lettered_total{reason="max_deliveries"} 0',
      'proxy_messages_dead_lettered_total{reason="terminated"} 0',
      'proxy_messages_expired_total 0',
      'proxy_messages_dropped_total{reason="slow_consumer"} 0',
      'proxy_messages_dropped_total{reason="connection_lost"} 0',
      ...reasons.map((reason) => `proxy_gaps_total{reason="${reason}"} 0`),
      ...reasons.map((reason) => `proxy_messages_lost_total{reason="${reason}"} 0`),
      'proxy_sessions_superseded_total 0',
      'proxy_messages_in_flight 0',
      'proxy_oldest_unacknowledged_seconds 0',
      'proxy_storage_up 0',
    ]);
  });

  it('counts what happens to messages, and says the same at a second scrape', async () => {
    const metrics = new PrometheusMetrics();
    for (const count of [3, 4]) {
      metrics.messagesAcknowledged(count);
      metrics.messagesRedelivered(count + 1);
      metrics.messagesExpired(count + 2);
      metrics.messagesDeadLettered('terminated', count + 3);
      metrics.messagesDropped('connection_lost', count + 4);
      metrics.sessionSuperseded();
    }
    const expected = [
      'proxy_messages_acknowledged_total 7',
      'proxy_messages_redelivered_total 9',
      'proxy_messages_expired_total 11',
      'proxy_messages_dead_lettered_total{reason="terminated"} 13',
      'proxy_messages_dead_lettered_total{reason="max_deliveries"} 0',
      'proxy_messages_dropped_total{reason="connection_lost"} 15',
      'proxy_messages_dropped_total{reason="slow_consumer"} 0',
      'proxy_sessions_superseded_total 2',
    ];
    expect(await linesOf(metrics)).to.include.members(expected);
    expect(await linesOf(metrics)).to.include.members(expected);
  });

  it('counts gaps, and the messages in them, by reason', async () => {
    const metrics = new PrometheusMetrics();
    metrics.gapTold('retention', 100);
    metrics.gapTold('retention', 20);
    metrics.gapTold('stream_reset', 7);
    // Counted from below where the client stood: how many there were is not known.
    metrics.gapTold('stream_reset', -5);
    expect(await linesOf(metrics)).to.include.members([
      'proxy_gaps_total{reason="retention"} 2',
      'proxy_gaps_total{reason="stream_reset"} 2',
      'proxy_gaps_total{reason="removed"} 0',
      'proxy_messages_lost_total{reason="retention"} 120',
      'proxy_messages_lost_total{reason="stream_reset"} 7',
      'proxy_messages_lost_total{reason="removed"} 0',
    ]);
  });

  it('reads at every scrape what is in flight', async () => {
    const metrics = new PrometheusMetrics();
    let inFlight = { messages: 12, oldestAgeMs: 3_500 };
    metrics.observeInFlight(() => inFlight);
    expect(await linesOf(metrics)).to.include.members([
      'proxy_messages_in_flight 12',
      'proxy_oldest_unacknowledged_seconds 3.5',
    ]);
    inFlight = { messages: 0, oldestAgeMs: 0 };
    expect(await linesOf(metrics)).to.include.members([
      'proxy_messages_in_flight 0',
      'proxy_oldest_unacknowledged_seconds 0',
    ]);
  });

  it('reads at every scrape how the storage is; a lag that nobody has measured has no sample', async () => {
    const metrics = new PrometheusMetrics();
    let storage: StorageState = { isUp: true, feedLagMs: undefined };
    metrics.observeStorage(() => storage);
    const lag = async (): Promise<readonly string[]> =>
      (await linesOf(metrics)).filter((line) => line.startsWith('proxy_feed_lag_seconds'));
    expect(await lag()).to.deep.equal([]);
    expect(await linesOf(metrics)).to.include('proxy_storage_up 1');
    storage = { isUp: false, feedLagMs: 250 };
    expect(await lag()).to.deep.equal(['proxy_feed_lag_seconds 0.25']);
    expect(await linesOf(metrics)).to.include('proxy_storage_up 0');
    storage = { isUp: true, feedLagMs: undefined };
    expect(await lag()).to.deep.equal([]);
  });

  describe('queue depth', () => {
    it('is read at every scrape, and forgets topics that are gone', async () => {
      const metrics = new PrometheusMetrics();
      let depths: [TopicName, number][] = [[topic('orders'), 3]];
      metrics.observeQueueDepth(() => depths);
      expect(await linesOf(metrics)).to.include('proxy_queue_depth{topic="orders"} 3');
      depths = [[topic('news'), 1]];
      const lines = await linesOf(metrics);
      expect(lines).to.include('proxy_queue_depth{topic="news"} 1');
      expect(lines.join('\n')).not.to.include('orders');
    });

    it('names the hundred deepest topics and sums up the rest', async () => {
      const metrics = new PrometheusMetrics();
      metrics.observeQueueDepth(() => Array.from({ length: 150 }, (_, i) => [topic(`t${i}`), i] as const));
      const lines = (await linesOf(metrics)).filter((line) => line.startsWith('proxy_queue_depth{'));
      expect(lines).to.have.lengthOf(101);
      expect(lines).to.include('proxy_queue_depth{topic="t149"} 149');
      expect(lines).to.include('proxy_queue_depth{topic="t50"} 50');
      expect(lines).to.include(`proxy_queue_depth{topic="other"} ${(49 * 50) / 2}`);
    });

    it('adds a topic that is really called other to the rest', async () => {
      const metrics = new PrometheusMetrics();
      metrics.observeQueueDepth(() => [
        [topic('other'), 1000],
        ...Array.from({ length: 100 }, (_, i) => [topic(`t${i}`), 2] as const),
      ]);
      expect(await linesOf(metrics)).to.include('proxy_queue_depth{topic="other"} 1002');
    });
  });

  it('keeps its numbers apart from those of another instance', async () => {
    new PrometheusMetrics().messagesReceived(5);
    expect(await linesOf(new PrometheusMetrics())).to.include('proxy_messages_received_total 0');
  });
});
