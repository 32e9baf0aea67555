/** A producer by HTTP: the template is the whole request. */
import { HttpConnection } from '../http-connection.js';
import type { RequestTemplate } from '../request-template.js';
import type { Lane } from './service-client.js';

export const openHttpLane = async (port: number, template: RequestTemplate): Promise<Lane> => {
  const connection = await HttpConnection.open(port);
  return {
    template,
    send: (onAnswer) =>
      connection.send(template.bytes, (status, bytes, bodyAt, end) =>
        onAnswer(
          status >= 200 && status < 300
            ? undefined
            : `publish answered ${status}: ${bytes.toString('utf8', bodyAt, end)}`,
        ),
      ),
    close: () => connection.close(),
  };
};
