import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';

/** Where the routes of our server extension lie below the server's base address. */
const NAMESPACE = 'llmops/v1';

/** What the server answered when it could not do what was asked. `kind` is the name of the Python error. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly kind: string,
    message: string
  ) {
    super(message);
    this.name = 'ApiError';
  }
}

/** A body with its ETag, or only the ETag where nothing has changed since. */
export interface IAnswer<T> {
  body: T | null;
  etag: string;
}

export interface IRequest {
  method?: 'GET' | 'POST' | 'PUT' | 'DELETE';
  query?: Readonly<Record<string, string | number | boolean | undefined>>;
  body?: unknown;
  etag?: string;
  signal?: AbortSignal;
}

/**
 * Ask the server extension.
 *
 * @throws ApiError with the server's own sentence; status 0 where the server was not reached, 404 of kind
 * 'NoExtension' where the extension is not enabled there.
 */
export async function ask<T>(
  settings: ServerConnection.ISettings,
  path: string,
  { method = 'GET', query = {}, body, etag, signal }: IRequest = {}
): Promise<IAnswer<T>> {
  const parameters = Object.entries(query)
    .filter(([, value]) => value !== undefined && value !== '')
    .map(
      ([key, value]) =>
        `${encodeURIComponent(key)}=${encodeURIComponent(String(value))}`
    );
  const address =
    URLExt.join(settings.baseUrl, NAMESPACE, path) +
    (parameters.length ? `?${parameters.join('&')}` : '');
  const init: RequestInit = { method, signal };
  if (body !== undefined) {
    init.body = JSON.stringify(body);
  }
  if (etag) {
    init.headers = { 'If-None-Match': etag };
  }
  let response: Response;
  try {
    response = await ServerConnection.makeRequest(address, init, settings);
  } catch (error) {
    if (signal?.aborted) {
      throw error;
    }
    throw new ApiError(0, 'Unreachable', String((error as Error).message));
  }
  if (response.status === 304) {
    return { body: null, etag: etag ?? '' };
  }
  const text = await response.text();
  if (!response.ok) {
    throw told(response, text);
  }
  return {
    body: text ? (JSON.parse(text) as T) : null,
    etag: response.headers.get('ETag') ?? ''
  };
}

function told(response: Response, text: string): ApiError {
  try {
    const { error } = JSON.parse(text);
    if (typeof error?.kind === 'string') {
      return new ApiError(response.status, error.kind, String(error.message));
    }
  } catch {
    // Not one of our answers: a page of the server or of something before it.
  }
  return response.status === 404
    ? new ApiError(404, 'NoExtension', response.statusText)
    : new ApiError(response.status, 'Server', response.statusText);
}
