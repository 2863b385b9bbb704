/** HTTP for tus-js-client where there is no XMLHttpRequest: in the service worker. */

import type { HttpRequest, HttpResponse, HttpStack } from "tus-js-client";

export class FetchStack implements HttpStack {
  createRequest(method: string, url: string): HttpRequest {
    return new FetchRequest(method, url);
  }

  getName(): string {
    return "FetchStack";
  }
}

class FetchRequest implements HttpRequest {
  private readonly headers: Record<string, string> = {};
  private readonly controller = new AbortController();
  private tell: (bytesSent: number) => void = () => undefined;

  constructor(
    private readonly method: string,
    private readonly url: string,
  ) {}

  getMethod(): string {
    return this.method;
  }

  getURL(): string {
    return this.url;
  }

  setHeader(name: string, value: string): void {
    this.headers[name] = value;
  }

  getHeader(name: string): string | undefined {
    return this.headers[name];
  }

  setProgressHandler(tell: (bytesSent: number) => void): void {
    this.tell = tell;
  }

  async send(body: Blob | null): Promise<HttpResponse> {
    const answer = await fetch(this.url, { method: this.method, headers: this.headers, body, signal: this.controller.signal, credentials: "omit" });
    const text = await answer.text();
    this.tell(body?.size ?? 0);
    return {
      getStatus: () => answer.status,
      getHeader: (name) => answer.headers.get(name) ?? undefined,
      getBody: () => text,
      getUnderlyingObject: () => answer,
    };
  }

  abort(): Promise<void> {
    this.controller.abort();
    return Promise.resolve();
  }

  getUnderlyingObject(): null {
    return null;
  }
}
