# Built on the same Debian as it runs on. Node 24 is a line with long-term support.
ARG NODE_IMAGE=node:24-bookworm-slim

FROM ${NODE_IMAGE} AS build
WORKDIR /app
# The dependencies change less often than the code: their layers are reused.
COPY package.json package-lock.json .npmrc ./
RUN npm ci --ignore-scripts
COPY tsconfig.json tsconfig.build.json main.ts ./
COPY domain ./domain
COPY application ./application
COPY infrastructure ./infrastructure
COPY interfaces ./interfaces
RUN npm run build && rm -f dist/.tsbuildinfo*

FROM ${NODE_IMAGE} AS dependencies
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci --omit=dev --ignore-scripts && npm cache clean --force

FROM ${NODE_IMAGE} AS runtime
LABEL org.opencontainers.image.title="Pulsar Proxy" \
  org.opencontainers.image.description="Real-time message proxy: POST to a topic, receive over WebSocket or HTTP long-polling." \
  org.opencontainers.image.source="https://github.com/yourusername/pulsar-proxy" \
  org.opencontainers.image.licenses="MIT"
ENV NODE_ENV=production
WORKDIR /app
# Owned by root and only read by the service: what it runs, it cannot change.
COPY package.json LICENSE ./
COPY --from=dependencies /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
USER node
EXPOSE 8080 8081
STOPSIGNAL SIGTERM
# Alive, not ready: a Valkey that is away is no reason to restart the proxy. The port follows the configuration only
# where that is given as an environment variable.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 \
  CMD ["node", "-e", "fetch('http://127.0.0.1:' + (process.env.PULSAR_SERVER_HTTP_PORT || 8080) + '/health').then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
# No shell and no npm in between: the signals of the container reach the service.
CMD ["node", "--max-semi-space-size=32", "dist/main.js"]
