/** A producer by WebSocket: the template is the text of a frame, which is answered with a text. */
import { clientFrame, TEXT } from '../client-frames.js';
import type { RequestTemplate } from '../request-template.js';
import type { WebSocket, WebSocketEvents } from '../web-socket.js';
import type { Lane } from './service-client.js';

/** `taken` is how the answer begins where the service has taken the message. */
export const openSocketLane = async (
  template: RequestTemplate,
  taken: string,
  open: (events: WebSocketEvents) => Promise<WebSocket>,
): Promise<Lane> => {
  let onAnswer: (failure: string | undefined) => void = () => undefined;
  const socket = await open({
    onText: (bytes, start, end) => {
      const reply = bytes.toString('latin1', start, end);
      onAnswer(reply.startsWith(taken) ? undefined : reply);
    },
    onReceived: () => undefined,
    onFailure: (what) => onAnswer(what),
  });
  return {
    template,
    send: (answered) => {
      onAnswer = answered;
      socket.write(clientFrame(TEXT, template.bytes));
    },
    close: () => socket.close(),
  };
};
