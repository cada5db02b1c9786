# To train on one machine:   docker build -t emcomm . && docker run --shm-size 512m -v "$PWD/logs:/data/logs" emcomm
# For deploy/kuberay.yaml:   docker build -t emcomm:kuberay --target kuberay .
# What follows the name of the image is a module and its flags: docker run emcomm emcomm.sweep --seeds 0-9
FROM python:3.11-slim AS base

# torch's build for the CPU alone is a tenth of the other: its version counts as newer, and so it is taken
ENV PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu \
    PIP_NO_CACHE_DIR=1 \
    PYTHONUNBUFFERED=1 \
    MPLCONFIGDIR=/tmp/matplotlib

WORKDIR /opt/emcomm
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY envs envs
COPY emcomm emcomm
COPY analysis analysis
COPY experiments experiments
RUN pip install -c constraints.txt -e .

RUN useradd --create-home --uid 1000 emcomm && mkdir -p /data/logs && chown -R emcomm /data
WORKDIR /data

# Ray's own dashboard, through which KubeRay hands on a job, and what its probes of a pod need
FROM base AS kuberay
RUN apt-get update && apt-get install -y --no-install-recommends wget && rm -rf /var/lib/apt/lists/*
RUN pip install -c /opt/emcomm/constraints.txt "ray[default]"
USER emcomm

FROM base AS emcomm
USER emcomm
ENTRYPOINT ["python", "-m"]
CMD ["emcomm.train"]
