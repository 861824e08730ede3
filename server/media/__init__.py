"""What files are, and what is made of them: pictures anew and small, posters, waveforms. Untrusted bytes are decoded in
processes of their own (`server.media.worker`), which own nothing and are ended when they are done.
"""
