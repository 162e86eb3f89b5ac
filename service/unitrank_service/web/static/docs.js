// Draws /docs: Swagger UI reads the OpenAPI document of this service.
"use strict";

SwaggerUIBundle({
  url: document.getElementById("openapi").dataset.url,
  dom_id: "#openapi",
  // Long lists of schemas would hide the operations.
  defaultModelsExpandDepth: 0,
  // Swagger's validator is another site.
  validatorUrl: null,
});
