"""The HTTP interface of the Stable Diffusion WebUI extension `sd-webui-segment-anything`."""
