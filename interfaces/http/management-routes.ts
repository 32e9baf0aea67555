/** GET /health (the process lives), /ready (it can do its work) and /metrics. Without a token: probes have none. */
import type Router from '@koa/router';
import type { HealthProbe } from '../../application/ports/event-store.js';
import type { Metrics } from '../../application/ports/metrics.js';

export interface Management {
  readonly version: string;
  readonly storage: HealthProbe;
  readonly metrics: Metrics;
  /** True from SIGTERM on. */
  readonly isDraining: () => boolean;
}

export const addManagementRoutes = (
  router: Router,
  { version, storage, metrics, isDraining }: Management,
): void => {
  router.get('/health', (context) => {
    context.body = { status: 'ok', version };
  });

  router.get('/ready', async (context) => {
    const problems = isDraining() ? ['shutting down'] : await storage.problems();
    context.status = problems.length === 0 ? 200 : 503;
    context.body = { status: problems.length === 0 ? 'ready' : 'not_ready', problems };
  });

  router.get('/metrics', async (context) => {
    const { contentType, body } = await metrics.render();
    context.set('Content-Type', contentType);
    context.body = body;
  });
};
