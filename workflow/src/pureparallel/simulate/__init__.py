"""A NIRISS pure-parallel field whose truth is known: the sky, the detector, the exposures and their reference files.

Instrument: ``instrument`` (constants, frames, readouts, band passes, the aperture's geometry, random numbers by name),
``detector`` (the detector's truth), ``psf``, ``dispersion`` (traces and sensitivities), ``background`` (components of
the dispersed sky). Sky: ``sky``, ``galaxies``, ``stars``, ``sed``. Exposures: ``render`` (noiseless images),
``effects``, ``hits`` and ``ramp`` (raw ramps), ``pointing`` and ``header`` (what an exposure says about itself).
Reference files: ``references`` and ``crds_cache``, in the formats of CRDS and in a cache that needs no network.

Everything made here says that it is simulated.
"""
