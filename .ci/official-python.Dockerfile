# Python as Docker's official image has it: in /usr/local, with pip, without tests or bytecode.
FROM ml-docker-base:debian AS build
ARG MIRROR
WORKDIR /tmp/python
RUN echo "deb-src $MIRROR trixie main" >/etc/apt/sources.list.d/source.list && apt-get update -qq \
    && apt-get install -qq -y --no-install-recommends build-essential dpkg-dev xz-utils libbz2-dev \
        libffi-dev libgdbm-dev liblzma-dev libncurses-dev libreadline-dev libsqlite3-dev \
        libssl-dev uuid-dev zlib1g-dev \
    && apt-get source -qq --download-only python3.13 \
    && tar -xf python3.13_*.orig.tar.xz --strip-components=1
ARG FLAGS
RUN ./configure --quiet --enable-shared --enable-loadable-sqlite-extensions --with-ensurepip $FLAGS \
        LDFLAGS="-Wl,-rpath=/usr/local/lib,--strip-all" \
    && make -s -j "$(nproc)" && make -s install \
    && find /usr/local -depth \( -name __pycache__ -o -name test -o -name tests \
        -o -name 'libpython*.a' \) -exec rm -r {} + \
    && ln -s python3 /usr/local/bin/python && ln -sf pip3 /usr/local/bin/pip

FROM ml-docker-base:debian
RUN apt-get update -qq && apt-get install -qq -y --no-install-recommends libbz2-1.0 libffi8 \
        libgdbm6t64 liblzma5 libncursesw6 libreadline8t64 libsqlite3-0 libssl3t64 libuuid1 zlib1g \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt
COPY --from=build /usr/local /usr/local
RUN python -B -c 'import bz2, ctypes, lzma, readline, sqlite3, ssl, uuid'
CMD ["python3"]
