# Two images: `service`, which has no torch, and `worker`.
#   docker build --target service -t unitrank-service .
#   docker build --target worker -t unitrank-worker .                                    the build of torch that pip's own index has: CUDA on Linux
#   docker build --target worker --build-arg TORCH_INDEX=<index of CPU builds> -t unitrank-worker-cpu .
ARG PYTHON_IMAGE=python:3.12-slim

FROM ${PYTHON_IMAGE} AS base
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/unitrank
WORKDIR /src
COPY constraints.txt requirements.lock ./
RUN /opt/unitrank/bin/pip install --constraint constraints.txt --constraint requirements.lock hatchling

FROM base AS service-build
COPY pyproject.toml README.md LICENSE ./
COPY api_schemas ./api_schemas
COPY tables ./tables
COPY engine ./engine
COPY store ./store
COPY service ./service
COPY worker ./worker
COPY plots ./plots
COPY client ./client
RUN /opt/unitrank/bin/pip install --constraint constraints.txt --constraint requirements.lock --no-build-isolation '.[service,s3]'
# Its owner becomes the owner of the volume that is mounted there.
RUN mkdir -p /opt/state

FROM base AS worker-build
ARG TORCH_INDEX=
# By itself, before the sources: it is large, and seldom another.
RUN /opt/unitrank/bin/pip install --constraint constraints.txt --constraint requirements.lock ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} torch
COPY pyproject.toml README.md LICENSE ./
COPY api_schemas ./api_schemas
COPY tables ./tables
COPY engine ./engine
COPY store ./store
COPY service ./service
COPY worker ./worker
COPY plots ./plots
COPY client ./client
RUN /opt/unitrank/bin/pip install --constraint constraints.txt --constraint requirements.lock --no-build-isolation '.[worker,s3]'
RUN mkdir -p /opt/state

FROM ${PYTHON_IMAGE} AS service
ENV PATH=/opt/unitrank/bin:$PATH PYTHONUNBUFFERED=1 HOME=/var/lib/unitrank USER=unitrank
ENV UNITRANK_STATE=/var/lib/unitrank UNITRANK_HOST=0.0.0.0 UNITRANK_PORT=8000
COPY --from=service-build /opt/unitrank /opt/unitrank
COPY --from=service-build --chown=10001:10001 /opt/state /var/lib/unitrank
WORKDIR /var/lib/unitrank
USER 10001:10001
EXPOSE 8000
# http.client, because urllib asks the proxy that Docker's own configuration may put into every container.
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
    CMD ["python", "-c", "import http.client as h, sys; c = h.HTTPConnection('127.0.0.1', 8000, timeout=2); c.request('GET', '/healthz'); sys.exit(c.getresponse().status != 200)"]
CMD ["python", "-m", "unitrank_service"]

FROM ${PYTHON_IMAGE} AS worker
ENV PATH=/opt/unitrank/bin:$PATH PYTHONUNBUFFERED=1 HOME=/var/lib/unitrank USER=unitrank
ENV UNITRANK_STATE=/var/lib/unitrank
# What the NVIDIA container runtime brings in: the driver alone; the rest of CUDA comes with torch.
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --from=worker-build /opt/unitrank /opt/unitrank
COPY --from=worker-build --chown=10001:10001 /opt/state /var/lib/unitrank
WORKDIR /var/lib/unitrank
USER 10001:10001
CMD ["python", "-m", "unitrank_worker"]
