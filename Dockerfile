# Two images: `service`, without torch, and `worker`.
#
#   docker build --target service -t unitrank-service .
#   docker build --target worker -t unitrank-worker .
#   docker build --target worker --build-arg TORCH_INDEX=<index of CPU builds> -t unitrank-worker-cpu .
#   docker build --target worker --build-arg EXTRAS=ray -t unitrank-worker .
#
# Without TORCH_INDEX, pip takes torch from its default index: on Linux the build with CUDA.
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
# A volume that is mounted here gets the owner and the rights of this folder. OpenShift chooses a
# random user of the group 0.
RUN mkdir -p -m 0770 /opt/state

FROM base AS worker-build
ARG TORCH_INDEX=
# Further extras of the worker, such as `ray`.
ARG EXTRAS=
# A layer of its own, before the sources: torch is large and seldom changes.
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
RUN /opt/unitrank/bin/pip install --constraint constraints.txt --constraint requirements.lock --no-build-isolation ".[worker,s3,parquet${EXTRAS:+,$EXTRAS}]"
RUN mkdir -p -m 0770 /opt/state

FROM ${PYTHON_IMAGE} AS service
ENV PATH=/opt/unitrank/bin:$PATH PYTHONUNBUFFERED=1 HOME=/var/lib/unitrank USER=unitrank
ENV UNITRANK_STATE=/var/lib/unitrank UNITRANK_HOST=0.0.0.0 UNITRANK_PORT=8000
COPY --from=service-build /opt/unitrank /opt/unitrank
COPY --from=service-build --chown=10001:0 /opt/state /var/lib/unitrank
WORKDIR /var/lib/unitrank
USER 10001:10001
EXPOSE 8000
# http.client, because urllib would use the proxy that Docker's configuration may set in containers.
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
    CMD ["python", "-c", "import http.client as h, sys; c = h.HTTPConnection('127.0.0.1', 8000, timeout=2); c.request('GET', '/healthz'); sys.exit(c.getresponse().status != 200)"]
CMD ["python", "-m", "unitrank_service"]

FROM ${PYTHON_IMAGE} AS worker
ENV PATH=/opt/unitrank/bin:$PATH PYTHONUNBUFFERED=1 HOME=/var/lib/unitrank USER=unitrank
ENV UNITRANK_STATE=/var/lib/unitrank
# The NVIDIA container runtime adds only the driver. The other parts of CUDA come with torch.
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --from=worker-build /opt/unitrank /opt/unitrank
COPY --from=worker-build --chown=10001:0 /opt/state /var/lib/unitrank
WORKDIR /var/lib/unitrank
USER 10001:10001
CMD ["python", "-m", "unitrank_worker"]
