/** The API's document, rendered by our own copy of Swagger UI. */

interface SwaggerOptions {
  readonly url: string;
  readonly dom_id: string;
  readonly deepLinking: boolean;
  readonly validatorUrl: null;
}

const place = document.getElementById("swagger-ui");
const render = (window as unknown as { SwaggerUIBundle?: (options: SwaggerOptions) => unknown }).SwaggerUIBundle;
if (place && render) render({ url: place.dataset.document ?? "", dom_id: "#swagger-ui", deepLinking: true, validatorUrl: null });

export {};
